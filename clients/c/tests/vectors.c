/* vectors MODEL VECTORS.json: holds the client against test vectors (docs/format.md): steps in pieces, saved and restored, and events. With ST_WRAPPED by way of
   the C++ classes. */
#include "../streaming.c"
#ifdef ST_WRAPPED
#include "wrapped.h"
#endif

static int problems;

static void wrong(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "vectors: ");
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  problems++;
}

static void need(streaming_code code) {
  if (code == STREAMING_OK) return;
  fprintf(stderr, "vectors: code %d: %s\n", code, streaming_message());
  exit(1);
}

static unsigned char *decode64(const char *text, size_t *size) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  unsigned char *out = malloc(strlen(text) + 1);
  uint32_t bits = 0;
  int count = 0;
  *size = 0;
  for (; out && *text && *text != '='; text++) {
    const char *found = strchr(digits, *text);
    if (!found) continue;
    bits = bits << 6 | (uint32_t)(found - digits);
    count += 6;
    if (count >= 8) out[(*size)++] = (unsigned char)(bits >> (count -= 8));
  }
  return out;
}

static double value_of(streaming_type type, const void *data, size_t i) {
  if (type == STREAMING_FLOAT32) return ((const float *)data)[i];
  if (type == STREAMING_FLOAT64) return ((const double *)data)[i];
  return (double)st_integer(type, data, i);
}

static void store(streaming_type type, void *data, size_t i, double value) {
  if (type == STREAMING_FLOAT32)
    ((float *)data)[i] = (float)value;
  else if (type == STREAMING_FLOAT64)
    ((double *)data)[i] = value;
  else
    for (size_t b = 0; b < st_item_bytes(type); b++) ((unsigned char *)data)[i * st_item_bytes(type) + b] = (unsigned char)((uint64_t)(int64_t)value >> (8 * b));
}

/* The array of a description, as values of a type; with one step's size behind it free. */
static void *array_of(const st_json *item, streaming_type type, size_t *count) {
  const st_json *shape = st_list(item, "shape");
  const char *dtype = st_text(item, "dtype", ""), *text = st_text(item, "base64", NULL);
  *count = 1;
  for (const st_json *size = shape->first; size; size = size->next) *count *= (size_t)size->number;
  void *data = calloc(*count + 1, 8);
  streaming_type from;
  if (!data || !st_type_of(dtype, STREAMING_BOOL, &from)) exit(1);
  size_t size;
  unsigned char *raw = text ? decode64(text, &size) : NULL;
  uint32_t x = (uint32_t)st_number(item, "seed", 0);
  int64_t low = (int64_t)st_number(item, "low", 0), high = (int64_t)st_number(item, "high", 2);
  bool real = from == STREAMING_FLOAT32 || from == STREAMING_FLOAT64;
  for (size_t i = 0; i < *count; i++) {
    x = 1664525u * x + 1013904223u;
    double drawn = real ? (double)(float)((double)(x >> 8) / 8388608.0 - 1.0) : (double)(low + (int64_t)(x >> 8) % (high - low));
    store(type, data, i, raw ? value_of(from, raw, i) : drawn);
  }
  free(raw);
  return data;
}

typedef struct collected {
  const streaming_model *model;
  st_buffer rows[ST_MAX_TENSORS];
} collected;

static void collect(void *user, size_t output, const void *rows, size_t count) {
  collected *to = user;
  if (!st_append(&to->rows[output], rows, count * to->model->outputs[output].info.bytes)) exit(1);
}

static void check_rows(const streaming_model *m, const st_json *expected, collected *found, double tolerance, const char *how) {
  for (size_t o = 0; o < m->output_count; o++) {
    const streaming_tensor *info = &m->outputs[o].info;
    const st_json *item = st_get(expected, info->name), *shape = st_list(item, "shape");
    size_t size, total = 1, stride = (size_t)st_number(item, "stride", 1);
    for (const st_json *s = shape->first; s; s = s->next) total *= (size_t)s->number;
    if (found->rows[o].size != total * st_item_bytes(info->type)) {
      wrong("%s: output %s has %zu bytes, expected %zu values", how, info->name, found->rows[o].size, total);
      continue;
    }
    unsigned char *raw = decode64(st_text(item, "base64", ""), &size);
    streaming_type from = STREAMING_FLOAT32;
    st_type_of(st_text(item, "dtype", ""), STREAMING_BOOL, &from);
    double scale = 1, worst = 0;
    for (size_t i = 0; i * stride < total; i++) {
      double right = value_of(from, raw, i), got = value_of(info->type, found->rows[o].data, i * stride);
      if (fabs(right) > scale) scale = fabs(right);
      if (!(fabs(right - got) <= worst)) worst = fabs(right - got);
    }
    if (!(worst <= tolerance * scale)) wrong("%s: output %s differs by %g (values up to %g)", how, info->name, worst, scale);
    free(raw);
  }
  for (size_t o = 0; o < m->output_count; o++) st_drop(&found->rows[o]);
}

static void check_steps(streaming_model *m, const st_json *all) {
  const st_json *steps = st_get(all, "steps"), *inputs = st_get(steps, "inputs"), *source = st_get(steps, "encode");
  void *arrays[ST_MAX_TENSORS], *sources[ST_MAX_TENSORS];
  size_t count, lengths[ST_MAX_TENSORS], total = 0;
  double tolerance = st_number(all, "tolerance", 1e-5);
  for (size_t i = 0; i < m->input_count; i++) {
    arrays[i] = array_of(st_get(inputs, m->inputs[i].name), m->inputs[i].info.type, &count);
    if (m->inputs[i].info.time && m->inputs[i].info.elements) total = count / m->inputs[i].info.elements;
  }
  for (size_t i = 0; source && i < m->source_count; i++) {
    sources[i] = array_of(st_get(source, m->sources[i].name), m->sources[i].info.type, &count);
    lengths[i] = m->sources[i].info.elements ? count / m->sources[i].info.elements : 0;
  }
  /* 0: in the pieces that the vectors name; 1: a step a call; 2: saved and restored between the pieces. */
  for (int how = 0; how < (m->internal ? 2 : 3); how++) {
    streaming_stream *stream, *other;
    collected found = {m, {{0}}};
    need(streaming_create(m, &stream));
    if (source) need(streaming_encode(stream, (const void *const *)sources, lengths));
    size_t begin = 0;
    const st_json *cut = st_list(steps, "cuts")->first;
    while (begin < total) {
      size_t end = how == 1 ? begin + 1 : (size_t)cut->number;
      const void *x[ST_MAX_TENSORS];
      for (size_t i = 0; i < m->input_count; i++)
        x[i] = (unsigned char *)arrays[i] + (m->inputs[i].info.time ? begin * m->inputs[i].info.bytes : 0);
      need(streaming_feed(stream, x, end - begin, collect, &found));
      begin = end;
      if (how != 1) cut = cut->next;
      if (how == 2) {
        size_t size = 0;
        need(streaming_save(stream, NULL, 0, &size));
        void *blob = malloc(size);
        need(streaming_save(stream, blob, size, &size));
        need(streaming_create(m, &other));
        need(streaming_restore(other, blob, size));
        streaming_free(stream);
        stream = other;
        free(blob);
      }
    }
    if (streaming_position(stream) != total) wrong("the position is %zu, expected %zu", streaming_position(stream), total);
    need(streaming_finish(stream, collect, &found));
    check_rows(m, st_get(steps, "outputs"), &found, tolerance, how == 0 ? "in pieces" : how == 1 ? "step by step" : "restored");
    if (streaming_feed(stream, (const void *const *)arrays, 0, collect, &found) != STREAMING_STATE) wrong("a finished stream takes steps");
    streaming_free(stream);
  }
  for (size_t i = 0; i < m->input_count; i++) free(arrays[i]);
  for (size_t i = 0; source && i < m->source_count; i++) free(sources[i]);
}

/* The ids of strings, for inputs that take those. */
static void check_strings(streaming_model *m, const st_json *strings) {
  for (const st_json *item = strings ? strings->first : NULL; item; item = item->next) {
    const st_json *list = st_list(item, "texts"), *ids = st_list(item, "ids");
    const char **texts = calloc(list->count + 1, sizeof *texts);
    size_t input = 0, count = 0, i = 0, length;
    while (input + 1 < m->input_count && strcmp(m->inputs[input].name, item->key)) input++;
    for (const st_json *text = list->first; text; text = text->next) texts[count++] = text->text;
    need(streaming_string_steps(m, input, texts, count, NULL, 0, &length));
    const streaming_tensor *info = &m->inputs[input].info;
    unsigned char *steps = calloc(length + 1, info->bytes);
    need(streaming_string_steps(m, input, texts, count, steps, length, &length));
    if (length * info->elements != ids->count) wrong("strings of %s have %zu steps, expected %zu ids", item->key, length, ids->count);
    for (const st_json *id = ids->first; id && i < length * info->elements; id = id->next, i++)
      if (st_integer(info->type, steps, i) != (int64_t)id->number) wrong("id %zu of the strings of %s is another", i, item->key);
    free(steps);
    free((void *)texts);
  }
}

typedef struct expected_events {
  const st_json *next;
  size_t count;
} expected_events;

static bool near(double found, const st_json *item) {
  if (!item || item->kind != ST_NUMBER) return false;
  return fabs(found - item->number) <= 2e-5 + 1e-4 * fabs(item->number);
}

static bool same_text(const char *found, const st_json *item) { return found && item && item->kind == ST_STRING && !strcmp(found, item->text); }

static bool same_table(const st_json *table, const streaming_event *e, size_t q) {
  size_t i = 0;
  for (const st_json *row = table ? table->first : NULL; row; row = row->next)
    for (const st_json *cell = row->first; cell; cell = cell->next, i++)
      if (i >= e->horizon * e->targets || !near(e->values[i * e->quantiles + q], cell)) return false;
  return i == e->horizon * e->targets;
}

static void check_event(void *user, const streaming_event *e) {
  expected_events *to = user;
  const st_json *item = to->next;
  if (!item) {
    wrong("an event too many: %s", e->event);
    return;
  }
  to->next = item->next;
  bool good = same_text(e->event, st_get(item, "event")), equal = true;
  for (const st_json *field = item->first; field; field = field->next) {
    const char *key = field->key;
    if (!strcmp(key, "event")) continue;
    if (!strcmp(key, "word") || !strcmp(key, "label") || !strcmp(key, "text"))
      good = good && same_text(e->text, field);
    else if (!strcmp(key, "tag"))
      good = good && same_text(e->tag, field);
    else if (!strcmp(key, "score") || !strcmp(key, "log_probability"))
      equal = equal && near(e->score, field);
    else if (!strcmp(key, "time"))
      good = good && (field->kind == ST_NULL ? !e->has_time : near(e->time, field));
    else if (!strcmp(key, "begin"))
      good = good && near(e->begin, field);
    else if (!strcmp(key, "end") && !strcmp(e->event, "point"))
      good = good && e->ends == (field->kind == ST_TRUE);
    else if (!strcmp(key, "lift"))
      good = good && e->lift == (field->kind == ST_TRUE);
    else if (!strcmp(key, "dx"))
      equal = equal && near(e->dx, field);
    else if (!strcmp(key, "dy"))
      equal = equal && near(e->dy, field);
    else if (!strcmp(key, "end"))
      good = good && near(e->end, field);
    else if (!strcmp(key, "error"))
      equal = equal && near(e->error, field);
    else if (!strcmp(key, "row"))
      good = good && e->row == (size_t)field->number;
    else if (!strcmp(key, "read"))
      good = good && e->read == (size_t)field->number;
    else if (!strcmp(key, "alarm"))
      good = good && e->alarm == (field->kind == ST_TRUE);
    else if (!strcmp(key, "values"))
      equal = equal && same_table(field, e, e->middle);
    else if (!strcmp(key, "quantiles")) {
      size_t q = 0;
      for (const st_json *table = field->first; table; table = table->next, q++) equal = equal && same_table(table, e, q);
    } else if (!strcmp(key, "labels")) {
      good = good && field->count == e->label_count;
      size_t i = 0;
      for (const st_json *label = field->first; good && label; label = label->next, i++) good = same_text(e->labels[i], label);
    } else
      wrong("an event has the field %s, which this test does not know", key);
  }
  if (!good) wrong("event %zu (%s, %s) is another", to->count, e->event, e->text ? e->text : "");
  else if (!equal) wrong("event %zu (%s, %s) has another score or other values", to->count, e->event, e->text ? e->text : "");
  to->count++;
}

static void check_words(streaming_model *m, const st_json *words, const st_json *arrays) {
  for (const st_json *input = arrays->first; input; input = input->next) {
    const st_json *row = input->first;
    for (const st_json *word = words->first; word; word = word->next, row = row->next) {
      int32_t ids[4096];
      size_t count, i = 0;
      need(streaming_word_ids(m, word->text, input->key, ids, 4096, &count));
      if (row->kind == ST_NUMBER && (count != 1 || ids[0] != (int32_t)row->number)) wrong("%s of %s is %d", input->key, word->text, ids[0]);
      for (const st_json *id = row->first; id; id = id->next, i++)
        if (i >= count || ids[i] != (int32_t)id->number) wrong("%s %zu of %s is another", input->key, i, word->text);
    }
  }
}

static void check_ids(streaming_model *m, const char *text, const st_json *ids) {
  int32_t found[4096];
  size_t count, i = 0;
  const void *data;
  const char *name = streaming_file(m, "source.json", &data, &count) == STREAMING_OK ? "source.json" : "target.json";
  need(streaming_text_ids(m, name, text, found, 4096, &count));
  if (count != ids->count) wrong("the text has %zu ids, expected %zu", count, ids->count);
  for (const st_json *id = ids->first; id; id = id->next, i++)
    if (i < count && found[i] != (int32_t)id->number) wrong("id %zu of the text is %d", i, found[i]);
}

static void check_task(streaming_model *m, const st_json *task) {
  const st_json *input = st_get(task, "input"), *arrays = st_get(task, "arrays"), *words = st_list(input, "words"), *rows = st_list(input, "rows");
  const st_json *samples = st_get(input, "samples"), *array = st_get(input, "array");
  const char *text = st_text(input, "text", NULL);
  if (words && arrays) check_words(m, words, arrays);
  if (text && arrays) check_ids(m, text, st_list(arrays, "ids"));
  streaming_session *session;
  expected_events events = {0};
  need(streaming_session_open(m, check_event, &events, &session));
  if (!strcmp(st_text(task, "kind", ""), "sketcher")) need(streaming_session_drawing(session, 0, (size_t)st_number(input, "max_length", 0), 0));
  for (int round = 0; round < 2; round++) { /* a session begins anew after its end */
    events = (expected_events){st_list(task, "events")->first, 0};
    for (const st_json *word = words ? words->first : NULL; word; word = word->next) need(streaming_session_word(session, word->text));
    for (const st_json *row = rows ? rows->first : NULL; row; row = row->next) {
      double *values = calloc(row->count + 1, sizeof *values);
      size_t n = 0;
      for (const st_json *cell = row->first; cell; cell = cell->next) values[n++] = cell->kind == ST_NULL ? NAN : cell->number;
      need(streaming_session_row(session, values, n));
      free(values);
    }
    if (samples) {
      size_t count;
      float *sound = array_of(samples, STREAMING_FLOAT32, &count);
      for (size_t i = 0; i < count; i++) sound[i] /= 128;
      need(streaming_session_samples(session, sound, count / 3));
      need(streaming_session_samples(session, sound + count / 3, count - count / 3));
      free(sound);
    }
    if (text) need(streaming_session_text(session, text, (size_t)st_number(input, "max_length", 0)));
    if (array) {
      size_t count;
      double *values = array_of(array, STREAMING_FLOAT64, &count);
      need(streaming_session_array(session, values, count));
      free(values);
    }
    need(streaming_session_finish(session));
    if (events.next) wrong("events are missing after %zu", events.count);
  }
  streaming_session_free(session);
}

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "vectors: expected MODEL VECTORS.json\n"), 2;
  FILE *file = fopen(arguments[2], "rb");
  st_buffer text = {0};
  size_t got = 1;
  while (file && got) {
    if (!st_reserve(&text, 65536)) return 1;
    got = fread(text.data + text.size, 1, 65536, file);
    text.size += got;
  }
  if (file) fclose(file);
  st_json *all = st_json_parse(text.data, text.size);
  if (!all) return fprintf(stderr, "vectors: %s is no JSON\n", arguments[2]), 1;
  streaming_model *model;
  need(streaming_open(arguments[1], NULL, &model));
  if (strcmp(st_text(all, "fingerprint", ""), streaming_fingerprint(model))) wrong("the vectors are of another model");
  check_steps(model, all);
  check_strings(model, st_get(st_get(all, "steps"), "strings"));
  if (st_get(all, "task")) check_task(model, st_get(all, "task"));
  streaming_close(model);
  st_json_free(all);
  st_drop(&text);
  if (!problems) puts("ok");
  return problems != 0;
}
