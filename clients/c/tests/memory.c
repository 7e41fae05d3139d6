/* memory MODEL [WORD]: every allocation of the client fails in turn. What is asked of it then is a code and a line, or is done. Steps
 * and the end of a stream allocate nothing. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>

static long allowed, asked;

static int fails(void) { return ++asked > allowed; }

static void *test_malloc(size_t size) { return fails() ? NULL : malloc(size); }
static void *test_calloc(size_t count, size_t size) { return fails() ? NULL : calloc(count, size); }
static void *test_realloc(void *old, size_t size) { return fails() ? NULL : realloc(old, size); }
static void *test_aligned(size_t alignment, size_t size) { return fails() ? NULL : aligned_alloc(alignment, size); }

#include <dlfcn.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#define malloc test_malloc
#define calloc test_calloc
#define realloc test_realloc
#define aligned_alloc test_aligned
#include "../streaming.c"

static void silent(void *user, const streaming_event *event) { (void)user, (void)event; }
static void nothing(void *user, size_t output, const void *rows, size_t count) { (void)user, (void)output, (void)rows, (void)count; }

/* Steps of zeros, and the end; gives how many allocations there were, of which there shall be none. */
static long step(streaming_model *model, streaming_stream *stream) {
  static const double zeros[1 << 14];
  const void *inputs[ST_MAX_TENSORS];
  streaming_rows rows[ST_MAX_TENSORS];
  long before = asked;
  for (size_t i = 0; i < model->input_count; i++) {
    inputs[i] = zeros;
    if (model->inputs[i].info.bytes * model->chunk > sizeof zeros) return 0;
  }
  for (int i = 0; i < 3; i++)
    if (streaming_step(stream, inputs, rows)) return 1;
  return streaming_finish(stream, nothing, NULL) || streaming_reset(stream) ? 1 : asked - before;
}

/* All that a caller does; the first code that is not STREAMING_OK. */
static streaming_code use(const char *path, const char *word) {
  streaming_model *model = NULL;
  streaming_stream *stream = NULL;
  streaming_session *session = NULL;
  streaming_code code = streaming_open(path, NULL, &model);
  if (code == STREAMING_OK) code = streaming_create(model, &stream);
  if (code == STREAMING_OK && !streaming_source_count(model) && step(model, stream)) {
    fprintf(stderr, "memory: a step fails or allocates\n");
    exit(1);
  }
  if (code == STREAMING_OK && *streaming_task(model)) code = streaming_session_open(model, silent, NULL, &session);
  if (code == STREAMING_OK && session && word) code = streaming_session_word(session, word);
  if (code == STREAMING_OK && session) code = streaming_session_finish(session);
  streaming_session_free(session);
  streaming_free(stream);
  streaming_close(model);
  return code;
}

int main(int count, char **arguments) {
  if (count < 2) return fprintf(stderr, "memory: expected MODEL [WORD]\n"), 2;
  const char *word = count > 2 ? arguments[2] : NULL;
  allowed = 1L << 40;
  if (use(arguments[1], word)) return fprintf(stderr, "memory: %s\n", streaming_message()), 1;
  long all = asked, tried = 0;
  /* Most allocations are the pieces of JSON and of vocabularies: of those some. */
  for (allowed = 0; allowed < all; allowed += allowed < 40 || all - allowed < 60 ? 1 : 1 + all / 97, tried++) {
    asked = 0;
    *st_line = 0;
    streaming_code code = use(arguments[1], word);
    if (code == STREAMING_OK || (code == STREAMING_MEMORY && *st_line && !strchr(st_line, '\n'))) continue;
    return fprintf(stderr, "memory: code %d, expected %d and a line, after %ld allocations: %s\n", code, STREAMING_MEMORY, allowed, st_line), 1;
  }
  printf("ok %ld of %ld\n", tried, all);
  return 0;
}
