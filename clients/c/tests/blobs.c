/* blobs MODEL IN OUT: goes on from the saved stream IN with the raw steps of standard input, writes rows of the first output, saves to OUT. */
#include <stdio.h>
#include <stdlib.h>

#include "streaming.h"

static void need(streaming_code code) {
  if (code == STREAMING_OK) return;
  fprintf(stderr, "blobs: code %d: %s\n", code, streaming_message());
  exit(1);
}

static void give(void *user, size_t output, const void *rows, size_t count) {
  if (output == 0) fwrite(rows, streaming_output(user, 0)->bytes, count, stdout);
}

int main(int count, char **arguments) {
  if (count != 4) return fprintf(stderr, "blobs: expected MODEL IN OUT\n"), 2;
  streaming_model *model;
  streaming_stream *stream;
  need(streaming_open(arguments[1], NULL, &model));
  need(streaming_create(model, &stream));
  FILE *file = fopen(arguments[2], "rb");
  unsigned char *blob = malloc(1 << 24);
  size_t size = file ? fread(blob, 1, 1 << 24, file) : 0;
  if (file) fclose(file);
  need(streaming_restore(stream, blob, size));
  size_t bytes = streaming_input(model, 0)->bytes;
  unsigned char *step = malloc(bytes);
  const void *inputs[] = {step};
  while (fread(step, 1, bytes, stdin) == bytes) need(streaming_feed(stream, inputs, 1, give, model));
  need(streaming_save(stream, blob, 1 << 24, &size));
  file = fopen(arguments[3], "wb");
  if (!file || fwrite(blob, 1, size, file) != size || fclose(file)) return 1;
  free(step);
  free(blob);
  streaming_free(stream);
  streaming_close(model);
  return 0;
}
