/* The one source to compile: parts that see each other, and nothing of which is visible outside but streaming.h. */
#define _POSIX_C_SOURCE 200809L
#include "streaming.h"

#include "src/parts.h"
#include "src/bytes.h"
#include "src/json.h"
#include "src/text.h"
#include "src/strings.h"
#include "src/litert.h"
#include "src/model.h"
#include "src/stream.h"
#include "src/saved.h"
#include "src/audio.h"
#include "src/search.h"
#include "src/mixture.h"
#include "src/tasks.h"
#include "src/session.h"
