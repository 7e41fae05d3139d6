/* fuzz MODEL SECONDS [SEED]: damaged files and blobs, their checksums made right, so that the parsers see them. Ends without a crash. */
#include "../streaming.c"

#include <time.h>

static uint32_t state = 1;

static uint32_t draw(uint32_t below) {
  state = 1664525u * state + 1013904223u;
  return (uint32_t)((uint64_t)(state >> 4) * below >> 28);
}

static void damage(unsigned char *data, size_t size) {
  static const char tokens[] = "{}[]\",:-0123456789eE.nulltrefas";
  for (uint32_t i = 0, n = 1 + draw(4); i < n && size; i++) {
    size_t place = draw((uint32_t)size);
    switch (draw(4)) {
      case 0:
        data[place] ^= (unsigned char)(1 << draw(8));
        break;
      case 1:
        data[place] = (unsigned char)draw(256);
        break;
      case 2:
        data[place] = (unsigned char)tokens[draw(sizeof tokens - 1)];
        break;
      default: {
        size_t other = draw((uint32_t)size), length = draw(16);
        if (other + length <= size && place + length <= size) memmove(data + place, data + other, length);
      }
    }
  }
}

static void seal(unsigned char *content, size_t size) {
  char digest[65];
  st_sha256_hex(content, size - 64, digest);
  memcpy(content + size - 64, digest, 64);
}

static void check_line(streaming_code code) {
  if (code != STREAMING_OK && (!*streaming_message() || strchr(streaming_message(), '\n'))) {
    fprintf(stderr, "fuzz: code %d has no line\n", code);
    exit(1);
  }
}

static void nothing(void *user, size_t output, const void *rows, size_t count) { (void)user, (void)output, (void)rows, (void)count; }
static void silent(void *user, const streaming_event *event) { (void)user, (void)event; }

/* A whole file, damaged behind its flatbuffer. */
static void fuzz_file(const unsigned char *content, size_t size, size_t start) {
  unsigned char *copy = malloc(size);
  memcpy(copy, content, size);
  damage(copy + start, size - 64 - start);
  size_t length = draw(8) ? size : start + draw((uint32_t)(size - start));
  if (length >= 64) seal(copy, length);
  st_file files[ST_MAX_FILES];
  size_t count = 0, begin = 0;
  memset(files, 0, sizeof files);
  check_line(st_read_zip(copy, length, files, &count, &begin));
  for (size_t i = 0; i < count; i++) {
    free(files[i].name);
    free(files[i].data);
  }
  free(copy);
}

/* The metadata and the associated files of a model, damaged by themselves; the graph is whole. */
static void fuzz_parts(const streaming_model *whole, bool run) {
  streaming_model m;
  memset(&m, 0, sizeof m);
  m.content = whole->content;
  m.size = whole->size;
  m.lib = whole->lib;
  m.environment = whole->environment;
  m.model = whole->model;
  m.options = whole->options;
  m.file_count = whole->file_count;
  size_t victim = draw((uint32_t)whole->file_count);
  for (size_t i = 0; i < m.file_count; i++) {
    m.files[i].name = whole->files[i].name;
    m.files[i].size = whole->files[i].size;
    m.files[i].data = malloc(m.files[i].size + 1);
    memcpy(m.files[i].data, whole->files[i].data, m.files[i].size + 1);
    if (i == victim) damage(m.files[i].data, m.files[i].size);
  }
  const st_file *text = st_find_file(m.files, m.file_count, "streaming.json");
  m.meta = st_json_parse(text->data, text->size);
  streaming_code code = m.meta ? st_read_meta(&m) : STREAMING_FILE;
  if (m.meta) check_line(code);
  if (m.meta && code == STREAMING_OK) check_line(code = st_read_graph(&m));
  streaming_session *session = NULL;
  if (m.meta && code == STREAMING_OK && run) {
    m.compiled = whole->compiled;
    check_line(code = streaming_session_open(&m, silent, NULL, &session));
    if (code == STREAMING_OK) {
      double row[64] = {0};
      float samples[3000];
      for (int i = 0; i < 3000; i++) samples[i] = (float)draw(100) / 100.0f - 0.5f;
      streaming_session_word(session, "Z\xc3\xbcrich-12");
      streaming_session_row(session, row, 64);
      streaming_session_samples(session, samples, 3000);
      streaming_session_text(session, "a b", 3);
      check_line(streaming_session_finish(session));
    }
    streaming_session_free(session);
  }
  st_json_free(m.meta);
  for (size_t i = 0; i < m.file_count; i++) free(m.files[i].data);
}

static void fuzz_blob(streaming_stream *stream, const unsigned char *blob, size_t size, const void *const *inputs) {
  unsigned char *copy = malloc(size);
  memcpy(copy, blob, size);
  damage(copy, draw(2) ? size - 32 : size - 32 > 260 ? 260 : size - 32);
  size_t length = draw(8) ? size : 42 + draw((uint32_t)(size - 42));
  st_sha256(copy, length - 32, copy + length - 32);
  streaming_code code = streaming_restore(stream, copy, length);
  check_line(code);
  if (code == STREAMING_OK) {
    check_line(streaming_feed(stream, inputs, 1, nothing, NULL));
    check_line(streaming_finish(stream, nothing, NULL));
  }
  free(copy);
}

int main(int count, char **arguments) {
  if (count < 3) return fprintf(stderr, "fuzz: expected MODEL SECONDS [SEED]\n"), 2;
  state = count > 3 ? (uint32_t)strtoul(arguments[3], NULL, 10) : 1;
  streaming_model *model;
  streaming_stream *stream;
  if (streaming_open(arguments[1], NULL, &model)) return fprintf(stderr, "fuzz: %s\n", streaming_message()), 1;
  st_file files[ST_MAX_FILES];
  size_t n, start = 0, size = 0, number = 0;
  memset(files, 0, sizeof files);
  st_read_zip(model->content, model->size, files, &n, &start);
  for (size_t i = 0; i < n; i++) {
    free(files[i].name);
    free(files[i].data);
  }
  if (streaming_create(model, &stream)) return fprintf(stderr, "fuzz: %s\n", streaming_message()), 1;
  const void *inputs[ST_MAX_TENSORS];
  for (size_t i = 0; i < model->input_count; i++) inputs[i] = calloc(1, model->inputs[i].info.bytes + 8);
  unsigned char *blob = NULL;
  if (!model->internal && !model->source_count) {
    check_line(streaming_feed(stream, inputs, 1, nothing, NULL));
    streaming_save(stream, NULL, 0, &size);
    blob = malloc(size);
    streaming_save(stream, blob, size, &size);
  }
  for (time_t end = time(NULL) + atoi(arguments[2]); time(NULL) < end; number++) {
    fuzz_file(model->content, model->size, start);
    fuzz_parts(model, number % 8 == 0);
    if (blob) fuzz_blob(stream, blob, size, inputs);
  }
  for (size_t i = 0; i < model->input_count; i++) free((void *)inputs[i]);
  free(blob);
  streaming_free(stream);
  streaming_close(model);
  printf("ok: %zu rounds\n", number);
  return 0;
}
