/* What all parts share: errors as a code and a line, checked sizes, growing arrays. */
#include <dlfcn.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ST_MAX_FILE ((size_t)1 << 31)
#define ST_MAX_FILES 64
#define ST_MAX_ASSOCIATED ((size_t)64 << 20)
#define ST_MAX_TENSOR ((size_t)1 << 28)
/* Kernels read a little beyond the end of what they are given. */
#define ST_PADDING 64

static _Thread_local char st_line[320];
/* An allocation has failed since the last error: what then looks like a damaged file is a full memory. */
static _Thread_local bool st_starved;

static void *st_given(void *memory) {
  if (!memory) st_starved = true;
  return memory;
}

static void *st_malloc(size_t size) { return st_given(malloc(size)); }
static void *st_calloc(size_t count, size_t size) { return st_given(calloc(count, size)); }
static void *st_realloc(void *old, size_t size) { return st_given(realloc(old, size)); }

const char *streaming_message(void) { return st_line; }

static streaming_code st_fail(streaming_code code, const char *format, ...) {
  va_list arguments;
  if (st_starved) {
    code = STREAMING_MEMORY;
    format = "the memory is full; close what is not needed";
    st_starved = false;
  }
  va_start(arguments, format);
  vsnprintf(st_line, sizeof st_line, format, arguments);
  va_end(arguments);
  for (char *c = st_line; *c; c++)
    if ((unsigned char)*c < 32) *c = ' ';
  return code;
}

static streaming_code st_no_memory(void) {
  st_starved = true;
  return st_fail(STREAMING_MEMORY, "");
}

#define ST_TRY(call)                           \
  do {                                         \
    streaming_code st_code = (call);           \
    if (st_code != STREAMING_OK) return st_code; \
  } while (0)

/* a * b, or false where that is more than a tensor may have. */
static bool st_times(size_t a, size_t b, size_t *product) {
  if (b != 0 && a > ST_MAX_TENSOR / b) return false;
  *product = a * b;
  return true;
}

static size_t st_round_up(size_t size) { return (size + ST_PADDING - 1) / ST_PADDING * ST_PADDING; }

/* Zeros that begin at a multiple of 64 and have 64 bytes behind them. */
static void *st_zeros(size_t size) {
  size_t whole = st_round_up(size) + ST_PADDING;
  void *memory = st_given(aligned_alloc(ST_PADDING, whole));
  if (memory) memset(memory, 0, whole);
  return memory;
}

/* A growing array of bytes or items. */
typedef struct st_buffer {
  char *data;
  size_t size, capacity;
} st_buffer;

static bool st_reserve(st_buffer *buffer, size_t more) {
  if (more > ST_MAX_FILE || buffer->size + more > ST_MAX_FILE) return false;
  if (buffer->size + more <= buffer->capacity) return true;
  size_t capacity = buffer->capacity ? buffer->capacity : 64;
  while (capacity < buffer->size + more) capacity *= 2;
  char *data = st_realloc(buffer->data, capacity);
  if (!data) return false;
  buffer->data = data;
  buffer->capacity = capacity;
  return true;
}

static bool st_append(st_buffer *buffer, const void *data, size_t size) {
  if (!st_reserve(buffer, size + 1)) return false;
  if (size) memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
  buffer->data[buffer->size] = 0;
  return true;
}

static void st_drop(st_buffer *buffer) {
  free(buffer->data);
  memset(buffer, 0, sizeof *buffer);
}
