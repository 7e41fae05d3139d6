/* misuse MODEL OTHER: what callers get wrong is a code and a line. MODEL takes rows of floats with a mask or none, OTHER is another. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streaming.h"

static int problems;

static void expect(streaming_code found, streaming_code code, const char *what) {
  const char *line = streaming_message();
  if (found == code && (code == STREAMING_OK || (*line && !strchr(line, '\n')))) return;
  fprintf(stderr, "misuse: %s: code %d, expected %d: %s\n", what, found, code, line);
  problems++;
}

static void nothing(void *user, size_t output, const void *rows, size_t count) { (void)user, (void)output, (void)rows, (void)count; }
static void silent(void *user, const streaming_event *event) { (void)user, (void)event; }

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "misuse: expected MODEL OTHER\n"), 2;
  streaming_model *model = NULL, *other = NULL;
  streaming_stream *stream = NULL, *foreign = NULL;
  expect(streaming_open(NULL, NULL, &model), STREAMING_ARGUMENT, "no path");
  expect(streaming_open(arguments[1], NULL, NULL), STREAMING_ARGUMENT, "no place");
  expect(streaming_open("/nowhere.tflite", NULL, &model), STREAMING_FILE, "no file");
  expect(streaming_open("/", NULL, &model), STREAMING_FILE, "a folder");
  expect(streaming_open(arguments[0], NULL, &model), STREAMING_FILE, "a foreign file");
  expect(streaming_open(arguments[1], "/nowhere.so", &model), STREAMING_RUNTIME, "no LiteRT");
  expect(streaming_open_memory("", 0, NULL, &model), STREAMING_FILE, "no bytes");
  if (model) return 1;
  expect(streaming_open(arguments[1], NULL, &model), STREAMING_OK, "open");
  expect(streaming_open(arguments[2], NULL, &other), STREAMING_OK, "open another");
  if (!model || !other) return 1;
  expect(streaming_create(NULL, &stream), STREAMING_ARGUMENT, "no model");
  expect(streaming_create(model, NULL), STREAMING_ARGUMENT, "no place for a stream");
  expect(streaming_create(model, &stream), STREAMING_OK, "create");
  expect(streaming_create(other, &foreign), STREAMING_OK, "create another");
  size_t values = streaming_input(model, 0)->elements * streaming_chunk(model);
  float *row = calloc(values + 1, sizeof *row);
  const void *inputs[] = {row}, *none[] = {NULL};
  streaming_rows rows[8];
  expect(streaming_step(stream, NULL, rows), STREAMING_ARGUMENT, "no inputs");
  expect(streaming_step(stream, none, rows), STREAMING_ARGUMENT, "an input that is NULL");
  expect(streaming_step(stream, inputs, NULL), STREAMING_ARGUMENT, "no rows");
  expect(streaming_feed(stream, inputs, 1, NULL, NULL), STREAMING_ARGUMENT, "no sink");
  row[0] = NAN;
  expect(streaming_step(stream, inputs, rows), STREAMING_INPUT, "NaN");
  row[0] = INFINITY;
  expect(streaming_step(stream, inputs, rows), STREAMING_INPUT, "infinity");
  if (streaming_position(stream) != 0) problems++;
  streaming_allow_nan(stream, 1);
  expect(streaming_step(stream, inputs, rows), STREAMING_OK, "infinity that is allowed");
  row[0] = 0.5f;
  expect(streaming_reset(stream), STREAMING_OK, "reset");
  streaming_allow_nan(stream, 0);
  expect(streaming_encode(stream, inputs, &values), STREAMING_STATE, "encode without a source");
  expect(streaming_feed(stream, NULL, 0, nothing, NULL), STREAMING_OK, "no steps");
  expect(streaming_feed(stream, inputs, 1, nothing, NULL), STREAMING_OK, "a step");
  size_t size;
  expect(streaming_save(stream, NULL, 0, &size), STREAMING_OK, "ask for a size");
  unsigned char *blob = malloc(size);
  expect(streaming_save(stream, blob, size - 1, &size), STREAMING_ARGUMENT, "too little room");
  expect(streaming_save(stream, blob, size, &size), STREAMING_OK, "save");
  expect(streaming_restore(foreign, blob, size), STREAMING_BLOB, "a blob of another model");
  expect(streaming_copy(foreign, stream), STREAMING_ARGUMENT, "a copy of another model");
  for (size_t cut = 0; cut < size; cut += 1 + size / 97) expect(streaming_restore(stream, blob, cut), STREAMING_BLOB, "a blob that is cut");
  for (size_t place = 0; place < size; place += 1 + size / 211) {
    blob[place] ^= 16;
    streaming_code code = streaming_restore(stream, blob, size);
    if (code != STREAMING_BLOB && code != STREAMING_VERSION) expect(code, STREAMING_BLOB, "a blob that is damaged");
    blob[place] ^= 16;
  }
  blob[4] = 2;
  expect(streaming_restore(stream, blob, size), STREAMING_VERSION, "a blob of a newer format");
  blob[4] = 1;
  expect(streaming_restore(stream, blob, size), STREAMING_OK, "restore");
  if (streaming_position(stream) != 1) problems++;
  expect(streaming_finish(stream, nothing, NULL), STREAMING_OK, "finish");
  expect(streaming_finish(stream, nothing, NULL), STREAMING_STATE, "finish twice");
  expect(streaming_step(stream, inputs, rows), STREAMING_STATE, "a step after finish");
  expect(streaming_feed(stream, inputs, 1, nothing, NULL), STREAMING_STATE, "steps after finish");
  expect(streaming_reset(stream), STREAMING_OK, "reset after finish");
  expect(streaming_step(stream, inputs, rows), STREAMING_OK, "a step after reset");
  if (streaming_input(model, 99) || streaming_output(model, 99) || streaming_source(model, 0)) problems++;
  const void *data;
  expect(streaming_file(model, "absent.txt", &data, &size), STREAMING_FILE, "an absent file");
  streaming_session *session = NULL;
  expect(streaming_session_open(model, NULL, NULL, &session), STREAMING_ARGUMENT, "no listener");
  expect(streaming_session_text(NULL, "a", 0), STREAMING_ARGUMENT, "no session");
  if (*streaming_task(other)) {
    double wrong = NAN;
    float noise = NAN;
    expect(streaming_session_open(other, silent, NULL, &session), STREAMING_OK, "a session");
    expect(streaming_session_text(session, "a", 0), STREAMING_STATE, "text for sound");
    expect(streaming_session_word(session, "a"), STREAMING_STATE, "a word for sound");
    expect(streaming_session_array(session, &wrong, 1), STREAMING_STATE, "an array for sound");
    expect(streaming_session_row(session, &wrong, 1), STREAMING_STATE, "a row for sound");
    expect(streaming_session_drawing(session, 0, 1, 0), STREAMING_STATE, "a drawing for sound");
    expect(streaming_session_samples(session, NULL, 3), STREAMING_ARGUMENT, "samples that are NULL");
    expect(streaming_session_samples(session, &noise, 1), STREAMING_INPUT, "a sample that is NaN");
    expect(streaming_session_finish(session), STREAMING_OK, "the end of nothing");
    streaming_session_free(session);
  }
  if (!*streaming_task(model)) expect(streaming_session_open(model, silent, NULL, &session), STREAMING_TASK, "no task");
  free(row);
  free(blob);
  streaming_free(stream);
  streaming_free(foreign);
  streaming_free(NULL);
  streaming_close(model);
  streaming_close(other);
  streaming_close(NULL);
  if (!problems) puts("ok");
  return problems != 0;
}
