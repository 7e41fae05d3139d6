/* The command: stream MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N] reads standard input and writes JSON lines,
 * or raw rows.
 *
 * With a task: a sentence a line, its words between white space (tagger, classifier); a text a line (translator, generator); a row
 * of numbers a line, an empty line ends a sequence (classifier of rows, sequence_tagger, forecaster, anomaly_detector), or the
 * beginning of a drawing, dx, dy and lift (sketcher); a WAV file of the model's rate (keyword_spotter, transcriber); numbers
 * (captioner). Without: a step a line, as rows; a word or a text a line where the input takes strings.
 * --max-length: pieces of a generator, or points of a sketcher; --temperature (0: the most probable point) and --seed: of a sketcher.
 * --steps: steps, whatever the task is. --raw: little-endian steps of all inputs in, rows of the first output out.
 */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "streaming.h"

static int usage(const char *line) {
  fprintf(stderr, "stream: %s\n", line);
  return 2;
}

static int failed(void) { return usage(streaming_message()); }

static void put_text(const char *text) {
  putchar('"');
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\')
      printf("\\%c", c);
    else if (c < 32)
      printf("\\u%04x", c);
    else
      putchar(c);
  }
  putchar('"');
}

static void put_member(const char *name, bool *first) {
  if (!*first) fputs(", ", stdout);
  *first = false;
  put_text(name);
  fputs(": ", stdout);
}

static void put_number(double value) {
  if (!isfinite(value))
    fputs("null", stdout);
  else
    printf("%.9g", round(value * 1e6) / 1e6);
}

typedef struct place {
  const char *name; /* "line" or "sequence", "" for arrays, NULL for audio */
  size_t number;
  char **words; /* of a classifier: what each prediction judges */
  size_t word, count, limit;
} place;

/* What the arguments ask of a task. */
typedef struct wishes {
  size_t limit;       /* 0: that of the file */
  double temperature; /* NAN: that of the file */
  uint32_t seed;
  bool draws; /* temperature or seed was given */
} wishes;

static const char synopsis[] = "expected: stream MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N]";

static void put_forecast(const streaming_event *e, bool *first) {
  put_member("values", first);
  for (size_t q = 0; q < e->quantiles + 1; q++) {
    size_t which = q == 0 ? e->middle : q - 1;
    if (q == 1) return; /* quantiles have no names here */
    for (size_t h = 0; h < e->horizon; h++) {
      fputs(h ? "], [" : "[[", stdout);
      for (size_t t = 0; t < e->targets; t++) {
        if (t) fputs(", ", stdout);
        put_number(e->values[(h * e->targets + t) * e->quantiles + which]);
      }
    }
    fputs("]]", stdout);
  }
}

static void show(void *user, const streaming_event *e) {
  place *at = user;
  bool first = true, audio = !at->name, prediction = !strcmp(e->event, "prediction");
  putchar('{');
  if (audio) {
    put_member("event", &first);
    put_text(e->event);
  } else if (*at->name) {
    put_member(at->name, &first);
    printf("%zu", at->number);
  }
  if (prediction && at->words && at->word < at->count) {
    put_member("word", &first);
    put_text(at->words[at->word++]);
  }
  if (!strcmp(e->event, "taggedrow") || !strcmp(e->event, "forecast") || !strcmp(e->event, "anomaly") || !strcmp(e->event, "point")) {
    put_member("row", &first);
    printf("%zu", e->row);
  }
  if (!strcmp(e->event, "point")) {
    put_member("dx", &first), put_number(e->dx);
    put_member("dy", &first), put_number(e->dy);
    put_member("lift", &first), fputs(e->lift ? "true" : "false", stdout);
    put_member("end", &first), fputs(e->ends ? "true" : "false", stdout);
  }
  if (e->text) {
    bool label = prediction || !strcmp(e->event, "keyword") || !strcmp(e->event, "utterance");
    bool word = !strcmp(e->event, "taggedword") || !strcmp(e->event, "translatedword");
    put_member(label ? "label" : word ? "word" : "text", &first);
    put_text(e->text);
  }
  if (e->tag) put_member("tag", &first), put_text(e->tag);
  if (!strcmp(e->event, "forecast")) put_forecast(e, &first);
  if (!strcmp(e->event, "anomaly")) put_member("error", &first), put_number(e->error);
  if (!strcmp(e->event, "transcript"))
    put_member("log_probability", &first), put_number(e->score);
  else if (strcmp(e->event, "forecast") && strcmp(e->event, "token") && strcmp(e->event, "translatedword"))
    put_member("score", &first), put_number(e->score);
  if (!strcmp(e->event, "anomaly")) put_member("alarm", &first), fputs(e->alarm ? "true" : "false", stdout);
  if (!strcmp(e->event, "translatedword")) put_member("read", &first), printf("%zu", e->read);
  if (e->has_time) put_member("time", &first), put_number(e->time);
  if (!strcmp(e->event, "taggedrow") && !e->has_time) put_member("time", &first), fputs("null", stdout);
  if (!strcmp(e->event, "transcript") || !strcmp(e->event, "utterance")) {
    put_member("begin", &first), put_number(e->begin);
    put_member("end", &first), put_number(e->end);
  }
  if (e->label_count) {
    put_member("labels", &first);
    for (size_t i = 0; i < e->label_count; i++) fputs(i ? ", " : "[", stdout), put_text(e->labels[i]);
    putchar(']');
  }
  puts("}");
}

static int words_of(streaming_session *session, place *at, char *line) {
  char **words = calloc(strlen(line) + 1, sizeof *words);
  size_t count = 0;
  if (!words) return usage("the memory is full");
  for (char *word = strtok(line, " \t\r\n"); word; word = strtok(NULL, " \t\r\n")) words[count++] = word;
  at->words = words;
  at->count = count;
  at->word = 0;
  int code = 0;
  for (size_t i = 0; !code && i < count; i++)
    if (streaming_session_word(session, words[i])) code = failed();
  if (!code && streaming_session_finish(session)) code = failed();
  free(words);
  at->words = NULL;
  return code;
}

/* The numbers of a line, in new memory; NULL where something else is there. */
static double *numbers_of(const char *line, size_t *count) {
  double *values = malloc((strlen(line) + 1) * sizeof *values);
  *count = 0;
  while (values) {
    line += strspn(line, " \t\r\n,;[]");
    if (!*line) return values;
    char *end;
    values[(*count)++] = strtod(line, &end);
    if (end == line) {
      free(values);
      return NULL;
    }
    line = end;
  }
  return values;
}

static bool blank(const char *line) { return line[strspn(line, " \t\r\n")] == 0; }

typedef int (*line_reader)(streaming_session *session, place *at, char *line, bool *fed);

static int row_of(streaming_session *session, place *at, char *line, bool *fed) {
  if (blank(line)) {
    if (*fed && streaming_session_finish(session)) return failed();
    at->number += *fed;
    *fed = false;
    return 0;
  }
  size_t count;
  double *row = numbers_of(line, &count);
  if (!row) return usage("a line holds no numbers; give a row a line");
  int code = streaming_session_row(session, row, count) ? failed() : 0;
  free(row);
  *fed = true;
  return code;
}

static int array_of(streaming_session *session, place *at, char *line, bool *fed) {
  size_t count;
  double *values = numbers_of(line, &count);
  (void)at;
  (void)fed;
  if (!values) return usage("a line holds no numbers; give an array a line");
  int code = count && streaming_session_array(session, values, count) ? failed() : 0;
  free(values);
  return code;
}

static int text_of(streaming_session *session, place *at, char *line, bool *fed) {
  (void)fed;
  line[strcspn(line, "\r\n")] = 0;
  at->number++;
  if (blank(line)) return 0;
  return streaming_session_text(session, line, at->limit) ? failed() : 0;
}

static int sentence_of(streaming_session *session, place *at, char *line, bool *fed) {
  (void)fed;
  at->number++;
  return words_of(session, at, line);
}

static int lines(streaming_session *session, place *at, line_reader reader, bool rows) {
  char *line = NULL;
  size_t size = 0;
  bool fed = false;
  int code = 0;
  while (!code && getline(&line, &size, stdin) >= 0) {
    code = reader(session, at, line, &fed);
    fflush(stdout);
  }
  free(line);
  if (!code && rows && fed && streaming_session_finish(session)) code = failed();
  return code;
}

static uint32_t word(const unsigned char *p, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)p[i] << (8 * i);
  return value;
}

/* A WAV file of one channel of PCM at the model's rate. */
static int sound(streaming_session *session, double rate) {
  unsigned char head[12], chunk[8], format[16] = {0};
  if (fread(head, 1, 12, stdin) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4)) return usage("the input is no WAV file; convert it to 16-bit WAV");
  for (;;) {
    if (fread(chunk, 1, 8, stdin) != 8) return usage("the WAV file has no samples; record something");
    uint32_t size = word(chunk + 4, 4);
    if (!memcmp(chunk, "data", 4)) break;
    for (uint32_t i = 0; i < size + size % 2; i++) {
      int c = getchar();
      if (c == EOF) return usage("the WAV file ends early; convert it to 16-bit WAV");
      if (!memcmp(chunk, "fmt ", 4) && i < 16) format[i] = (unsigned char)c;
    }
  }
  uint32_t channels = word(format + 2, 2), found = word(format + 4, 4), bits = word(format + 14, 2), left = word(chunk + 4, 4);
  if (channels != 1 || found != (uint32_t)rate || (bits != 8 && bits != 16 && bits != 24 && bits != 32)) {
    fprintf(stderr, "stream: the WAV file has %u channels of %u bits at %u Hz, expected 1 of 8 to 32 bits at %g; convert it\n", channels, bits, found, rate);
    return 2;
  }
  unsigned char block[4 * 400];
  float samples[400];
  size_t bytes = bits / 8;
  while (left >= bytes) {
    size_t want = left / bytes < 400 ? left / bytes : 400, got = fread(block, bytes, want, stdin);
    if (!got) break;
    for (size_t i = 0; i < got; i++) {
      int32_t value = (int32_t)(word(block + i * bytes, (int)bytes) << (32 - bits));
      if (bits == 8) value = (int32_t)((uint32_t)(block[i] ^ 0x80) << 24);
      samples[i] = (float)(value / 2147483648.0);
    }
    left -= (uint32_t)(got * bytes);
    if (streaming_session_samples(session, samples, got)) return failed();
  }
  return streaming_session_finish(session) ? failed() : 0;
}

typedef struct printer {
  const streaming_model *model;
  size_t sequence, *rows;
} printer;

static double value_at(streaming_type type, const void *data, size_t i) {
  switch (type) {
    case STREAMING_FLOAT32:
      return ((const float *)data)[i];
    case STREAMING_FLOAT64:
      return ((const double *)data)[i];
    case STREAMING_INT8:
      return ((const int8_t *)data)[i];
    case STREAMING_UINT8:
    case STREAMING_BOOL:
      return ((const uint8_t *)data)[i];
    case STREAMING_INT16:
      return ((const int16_t *)data)[i];
    case STREAMING_INT64:
      return (double)((const int64_t *)data)[i];
    default:
      return ((const int32_t *)data)[i];
  }
}

static void put_value(const streaming_tensor *info, const void *row, size_t axis, size_t *index) {
  if (axis == info->rank) {
    put_number(value_at(info->type, row, (*index)++));
    return;
  }
  putchar('[');
  for (size_t i = 0; i < info->shape[axis]; i++) {
    if (i) fputs(", ", stdout);
    put_value(info, row, axis + 1, index);
  }
  putchar(']');
}

static void show_rows(void *user, size_t output, const void *rows, size_t count) {
  printer *to = user;
  const streaming_tensor *info = streaming_output(to->model, output);
  for (size_t i = 0; i < count; i++) {
    size_t index = 0;
    printf("{\"sequence\": %zu, \"output\": ", to->sequence);
    put_text(info->name);
    printf(", \"index\": %zu, \"value\": ", to->rows[output]++);
    put_value(info, (const char *)rows + i * info->bytes, 0, &index);
    puts("}");
  }
}

static void write_rows(void *user, size_t output, const void *rows, size_t count) {
  const streaming_model *model = user;
  if (output == 0) fwrite(rows, streaming_output(model, 0)->bytes, count, stdout);
}

static bool store(streaming_type type, void *data, size_t i, double value) {
  switch (type) {
    case STREAMING_FLOAT32:
      return ((float *)data)[i] = (float)value, true;
    case STREAMING_FLOAT64:
      return ((double *)data)[i] = value, true;
    case STREAMING_INT8:
      return ((int8_t *)data)[i] = (int8_t)value, value == floor(value) && fabs(value) < 129;
    case STREAMING_UINT8:
    case STREAMING_BOOL:
      return ((uint8_t *)data)[i] = (uint8_t)value, value == floor(value) && value >= 0 && value < 256;
    case STREAMING_INT16:
      return ((int16_t *)data)[i] = (int16_t)value, value == floor(value) && fabs(value) < 32769;
    case STREAMING_INT64:
      return ((int64_t *)data)[i] = (int64_t)value, value == floor(value);
    case STREAMING_INT32:
      return ((int32_t *)data)[i] = (int32_t)value, value == floor(value) && fabs(value) < 2147483649.0;
    default:
      return false;
  }
}

/* Memory for one step of each input, one after the other. */
static size_t lay_out(const streaming_model *model, unsigned char *memory, const void **inputs) {
  size_t place = 0;
  for (size_t i = 0; i < streaming_input_count(model); i++) {
    if (inputs) inputs[i] = memory + place;
    place += (streaming_input(model, i)->bytes + 7) / 8 * 8;
  }
  return place;
}

/* A line of a model whose only input takes strings. */
static int strings_of(streaming_model *model, streaming_stream *stream, char *line, printer *to) {
  line[strcspn(line, "\r\n")] = 0;
  const char *text = line;
  size_t count;
  if (streaming_string_steps(model, 0, &text, 1, NULL, 0, &count)) return failed();
  void *found = calloc(count + 1, streaming_input(model, 0)->bytes);
  if (!found) return usage("the memory is full");
  const void *given[] = {found};
  int code = streaming_string_steps(model, 0, &text, 1, found, count, &count) || streaming_feed(stream, given, count, show_rows, to) ? failed() : 0;
  free(found);
  return code;
}

static int steps(streaming_model *model, streaming_stream *stream, const void **inputs) {
  size_t rows[64] = {0}, total = 0, size = 0, count;
  printer to = {model, 0, rows};
  char *line = NULL;
  bool fed = false, strings = streaming_input_count(model) == 1 && streaming_input(model, 0)->strings;
  int code = 0;
  for (size_t i = 0; i < streaming_input_count(model); i++) total += streaming_input(model, i)->elements;
  while (!code && getline(&line, &size, stdin) >= 0) {
    if (blank(line)) {
      if (fed && (streaming_finish(stream, show_rows, &to) || streaming_reset(stream))) code = failed();
      to.sequence += fed;
      memset(rows, 0, sizeof rows);
      fed = false;
      continue;
    }
    if (strings) {
      code = strings_of(model, stream, line, &to);
      fed = true;
      fflush(stdout);
      continue;
    }
    double *values = numbers_of(line, &count);
    if (!values || count != total) {
      fprintf(stderr, "stream: a line has %zu numbers, expected the %zu of a step\n", values ? count : 0, total);
      code = 2;
    }
    size_t at = 0;
    for (size_t i = 0; !code && i < streaming_input_count(model); i++) {
      const streaming_tensor *info = streaming_input(model, i);
      for (size_t k = 0; !code && k < info->elements; k++)
        if (!store(info->type, (void *)inputs[i], k, values[at++])) code = usage("a number does not fit the type of its input");
    }
    free(values);
    if (!code && streaming_feed(stream, inputs, 1, show_rows, &to)) code = failed();
    fed = true;
    fflush(stdout);
  }
  free(line);
  if (!code && fed && streaming_finish(stream, show_rows, &to)) code = failed();
  return code;
}

static int raw(streaming_model *model, streaming_stream *stream, const void **inputs) {
  bool fed = false;
  for (;;) {
    for (size_t i = 0; i < streaming_input_count(model); i++) {
      size_t bytes = streaming_input(model, i)->bytes, got = bytes ? fread((void *)inputs[i], 1, bytes, stdin) : 0;
      if (got == 0 && i == 0 && feof(stdin)) {
        if (fed && streaming_finish(stream, write_rows, model)) return failed();
        return 0;
      }
      if (got != bytes) return usage("the input ends in the middle of a step");
    }
    if (streaming_feed(stream, inputs, 1, write_rows, model)) return failed();
    fed = true;
  }
}

static int streams(streaming_model *model, bool is_raw) {
  const void *inputs[64];
  streaming_stream *stream;
  size_t size = lay_out(model, NULL, NULL);
  unsigned char *memory = calloc(1, size ? size : 1);
  if (!memory) return usage("the memory is full");
  lay_out(model, memory, inputs);
  int code = streaming_create(model, &stream) ? failed() : 0;
  if (!code && streaming_source_count(model)) code = usage("the model is given a whole input first; use its task");
  if (!code) code = is_raw ? raw(model, stream, inputs) : steps(model, stream, inputs);
  streaming_free(stream);
  free(memory);
  return code;
}

static int tasks(streaming_model *model, const wishes *wish) {
  const char *kind = streaming_task(model);
  bool sounds = !strcmp(kind, "keyword_spotter") || !strcmp(kind, "transcriber"), arrays = !strcmp(kind, "captioner");
  bool texts = !strcmp(kind, "translator") || !strcmp(kind, "generator"), words = false;
  const void *data;
  size_t size;
  if (!strcmp(kind, "tagger") || !strcmp(kind, "classifier")) words = !streaming_file(model, "words.txt", &data, &size);
  place at = {sounds ? NULL : arrays ? "" : words || texts ? "line" : "sequence", 0, NULL, 0, 0, wish->limit};
  streaming_session *session;
  bool sketches = !strcmp(kind, "sketcher");
  if (wish->draws && !sketches) return usage("--temperature and --seed go with sketchers; leave them out");
  if (streaming_session_open(model, show, &at, &session)) return failed();
  int code = sketches && streaming_session_drawing(session, wish->temperature, wish->limit, wish->seed) ? failed() : 0;
  if (!code)
    code = sounds  ? sound(session, streaming_sample_rate(model))
           : words ? lines(session, &at, sentence_of, false)
           : texts ? lines(session, &at, text_of, false)
                   : lines(session, &at, arrays ? array_of : row_of, !arrays);
  streaming_session_free(session);
  return code;
}

int main(int count, char **arguments) {
  const char *path = NULL;
  bool is_raw = false, without = false;
  wishes wish = {0, NAN, 0, false};
  for (int i = 1; i < count; i++) {
    if (!strcmp(arguments[i], "--raw"))
      is_raw = true;
    else if (!strcmp(arguments[i], "--steps"))
      without = true;
    else if (!strcmp(arguments[i], "--max-length") && i + 1 < count) {
      char *end;
      unsigned long long number = strtoull(arguments[i + 1], &end, 10);
      if (*end || !number || !isdigit((unsigned char)arguments[i + 1][0])) return usage("expected a whole number, 1 or more");
      wish.limit = (size_t)number;
      i++;
    } else if (!strcmp(arguments[i], "--temperature") && i + 1 < count) {
      char *end;
      wish.temperature = strtod(arguments[++i], &end);
      if (*end || end == arguments[i] || !(wish.temperature >= 0 && wish.temperature < INFINITY)) return usage("the temperature is wrong, expected a number, 0 or more");
      wish.draws = true;
    } else if (!strcmp(arguments[i], "--seed") && i + 1 < count) {
      char *end;
      unsigned long long number = strtoull(arguments[++i], &end, 10);
      if (*end || number > UINT32_MAX || !isdigit((unsigned char)arguments[i][0])) return usage("the seed is wrong, expected a whole number from 0 to 4294967295");
      wish.seed = (uint32_t)number;
      wish.draws = true;
    } else if (arguments[i][0] == '-' || path)
      return usage(synopsis);
    else
      path = arguments[i];
  }
  if (!path) return usage(synopsis);
  streaming_model *model;
  if (streaming_open(path, NULL, &model)) return failed();
  int code = is_raw || without || !*streaming_task(model) ? streams(model, is_raw) : tasks(model, &wish);
  streaming_close(model);
  return code;
}
