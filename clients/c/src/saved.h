/* The bytes of a saved stream: "RZST", version, a JSON header, packs, what waits, SHA-256. */
#define ST_BLOB_VERSION 1

static size_t st_state_bytes(const streaming_stream *s) {
  size_t total = 0;
  for (size_t i = 0; i < s->model->pack_count; i++) total += s->model->packs[i].bytes;
  return total;
}

static size_t st_held_bytes(const streaming_model *m, size_t waiting) {
  size_t total = 0;
  for (size_t i = 0; i < m->input_count; i++) total += m->inputs[i].info.bytes * (m->inputs[i].info.time ? waiting : 1);
  return total;
}

static streaming_code st_internal(const char *what) {
  return st_fail(STREAMING_STATE, "cannot %s: the model keeps its state inside the interpreter; convert it with state='external'", what);
}

streaming_code streaming_save(const streaming_stream *s, void *data, size_t capacity, size_t *size) {
  if (!s || !size) return st_fail(STREAMING_ARGUMENT, "streaming_save was given NULL; give a stream and a place for the size");
  const streaming_model *m = s->model;
  if (m->internal) return st_internal("save");
  char header[320];
  int length = snprintf(header, sizeof header, "{\"closed\": \"%s\", \"fingerprint\": \"%s\", \"held\": %s, \"nan\": \"%s\", \"position\": %zu, \"waiting\": %zu}",
                        st_closed_names[s->closed], m->fingerprint, s->has_held ? "true" : "false", s->allow_nan ? "pass" : "raise", s->position, s->waiting);
  *size = 10 + (size_t)length + st_state_bytes(s) + (s->has_held ? st_held_bytes(m, s->waiting) : 0) + 32;
  if (!data) return STREAMING_OK;
  if (capacity < *size) return st_fail(STREAMING_ARGUMENT, "there is room for %zu bytes, the stream takes %zu", capacity, *size);
  unsigned char *p = data, start[10] = {'R', 'Z', 'S', 'T', ST_BLOB_VERSION, 0, (unsigned char)length, (unsigned char)(length >> 8), 0, 0};
  memcpy(p, start, 10);
  memcpy(p + 10, header, (size_t)length);
  p += 10 + length;
  for (size_t i = 0; i < m->pack_count; i++) {
    memcpy(p, s->state_memory[s->turn][i], m->packs[i].bytes);
    p += m->packs[i].bytes;
  }
  for (size_t i = 0; s->has_held && i < m->input_count; i++) {
    size_t bytes = m->inputs[i].info.bytes * (m->inputs[i].info.time ? s->waiting : 1);
    memcpy(p, s->held[i], bytes);
    p += bytes;
  }
  st_sha256(data, *size - 32, p);
  return STREAMING_OK;
}

static streaming_code st_bad_blob(const char *why) { return st_fail(STREAMING_BLOB, "the saved stream %s; save it again", why); }

streaming_code streaming_restore(streaming_stream *s, const void *data, size_t size) {
  if (!s || !data) return st_fail(STREAMING_ARGUMENT, "streaming_restore was given NULL; give a stream and bytes");
  streaming_model *m = s->model;
  if (m->internal) return st_internal("restore");
  const unsigned char *p = data;
  unsigned char digest[32];
  if (size < 42 || memcmp(p, "RZST", 4)) return st_fail(STREAMING_BLOB, "%zu bytes are no saved stream; give all of them", size);
  if (st_u16(p + 4) != ST_BLOB_VERSION)
    return st_fail(STREAMING_VERSION, "the stream was saved by format %u, this client reads %d; use what saved it", st_u16(p + 4), ST_BLOB_VERSION);
  st_sha256(data, size - 32, digest);
  size_t length = st_u32(p + 6);
  if (memcmp(digest, p + size - 32, 32) || length > size - 42) return st_bad_blob("is truncated or damaged");
  st_json *header = st_json_parse(p + 10, length);
  size_t position, waiting;
  int closed = 0;
  const char *name = st_text(header, "closed", "?"), *nan = st_text(header, "nan", "?"), *fingerprint = st_text(header, "fingerprint", "?");
  const st_json *flag = st_get(header, "held");
  bool held = st_flag(header, "held", false), other = strcmp(fingerprint, m->fingerprint) != 0, pass = !strcmp(nan, "pass");
  while (closed < 4 && strcmp(name, st_closed_names[closed])) closed++;
  bool good = closed < 4 && (pass || !strcmp(nan, "raise")) && flag && (flag->kind == ST_TRUE || flag->kind == ST_FALSE) &&
              st_whole(header, "position", 0, 9007199254740992.0, -1, &position) && st_whole(header, "waiting", 0, (double)m->unit - 1, -1, &waiting) &&
              (held || !waiting);
  char theirs[13] = {0};
  if (other) snprintf(theirs, sizeof theirs, "%.12s", fingerprint);
  st_json_free(header);
  if (good && other)
    return st_fail(STREAMING_BLOB, "the stream was saved from model %s, this is %.12s; restore it with the file that it was saved from", theirs, m->fingerprint);
  if (!good) return st_bad_blob("has no sound header");
  if (closed == ST_OPEN && m->lead && position == 0 && waiting == 0) return st_bad_blob("has no sound header");
  if (closed == ST_SOURCELESS && !m->source_count) return st_bad_blob("has no sound header");
  if (size - 42 - length != st_state_bytes(s) + (held ? st_held_bytes(m, waiting) : 0)) return st_bad_blob("holds another number of bytes than this model");
  p += 10 + length;
  for (size_t i = 0; i < m->pack_count; i++) {
    memcpy(s->state_memory[s->turn][i], p, m->packs[i].bytes);
    if (!*m->packs[i].output) memcpy(s->state_memory[!s->turn][i], p, m->packs[i].bytes);
    p += m->packs[i].bytes;
  }
  for (size_t i = 0; i < m->input_count; i++) {
    size_t bytes = m->inputs[i].info.bytes * (m->inputs[i].info.time ? waiting : 1);
    st_fill_zero(&m->inputs[i].info, s->held[i], m->inputs[i].info.elements * (m->inputs[i].info.time ? m->unit : 1));
    if (held) {
      memcpy(s->held[i], p, bytes);
      p += bytes;
    }
  }
  s->position = position;
  s->waiting = waiting;
  s->has_held = held;
  s->allow_nan = pass;
  s->closed = closed;
  return STREAMING_OK;
}

streaming_code streaming_copy(streaming_stream *to, const streaming_stream *from) {
  if (!to || !from || to->model != from->model) return st_fail(STREAMING_ARGUMENT, "streaming_copy needs two streams of one model");
  const streaming_model *m = to->model;
  if (m->internal) return st_internal("copy");
  if (to == from) return STREAMING_OK;
  for (size_t i = 0; i < m->pack_count; i++) {
    memcpy(to->state_memory[to->turn][i], from->state_memory[from->turn][i], m->packs[i].bytes);
    if (!*m->packs[i].output) memcpy(to->state_memory[!to->turn][i], from->state_memory[from->turn][i], m->packs[i].bytes);
  }
  for (size_t i = 0; i < m->input_count; i++)
    memcpy(to->held[i], from->held[i], m->inputs[i].info.bytes * (m->inputs[i].info.time ? m->unit : 1));
  to->position = from->position;
  to->waiting = from->waiting;
  to->has_held = from->has_held;
  to->allow_nan = from->allow_nan;
  to->closed = from->closed;
  return STREAMING_OK;
}
