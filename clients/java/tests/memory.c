/* The JNI layer and the C client in one library, in which allocations fail once as many as `Memory.allow` says have been made. */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <jni.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long allowed = 1L << 40, asked;

static int fails(void) { return ++asked > allowed; }

static void *test_malloc(size_t size) { return fails() ? NULL : malloc(size); }
static void *test_calloc(size_t count, size_t size) { return fails() ? NULL : calloc(count, size); }
static void *test_realloc(void *old, size_t size) { return fails() ? NULL : realloc(old, size); }
static void *test_aligned(size_t alignment, size_t size) { return fails() ? NULL : aligned_alloc(alignment, size); }

#define malloc test_malloc
#define calloc test_calloc
#define realloc test_realloc
#define aligned_alloc test_aligned
#include "../../c/streaming.c"
#include "../streaming_jni.c"

/* Gives how many there were since the last call. */
CALL(jlong, Memory, allow)(JNIEnv *env, jclass self, jlong count) {
  (void)env, (void)self;
  long before = asked;
  asked = 0;
  allowed = (long)count;
  return before;
}
