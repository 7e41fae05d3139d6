/* One stream: states that go from invoke to invoke. */

/* The buffers of a signature, in its order. States are taken from the stream's own, before each invoke. */
typedef struct st_run {
  const st_signature *signature;
  st_handle in[ST_MAX_TENSORS], out[ST_MAX_TENSORS];
  void *in_memory[ST_MAX_TENSORS], *out_memory[ST_MAX_TENSORS];
  void *inputs[ST_MAX_TENSORS], *outputs[ST_MAX_TENSORS], *marks[ST_MAX_TENSORS], *valid; /* by number of the metadata */
} st_run;

struct streaming_stream {
  streaming_model *model;
  unsigned char *arena;
  size_t arena_size, arena_used;
  st_run step, steps, fill, encode, reset;
  /* Packs lie in one of two buffers; `turn` says which. */
  st_handle states[2][ST_MAX_TENSORS];
  void *state_memory[2][ST_MAX_TENSORS];
  int turn;
  void *held[ST_MAX_TENSORS]; /* steps that wait, and inputs without time */
  void *kept[ST_MAX_TENSORS]; /* rows of a step that took several invokes */
  size_t kept_rows[ST_MAX_TENSORS];
  bool has_held, allow_nan;
  size_t position, waiting;
  enum { ST_OPEN, ST_FINISHED, ST_CLOSED, ST_SOURCELESS } closed;
};

static const char *const st_closed_names[] = {"", "finished", "closed", "without its source"};

/* Without an arena it counts; with one it gives. */
static void *st_take(streaming_stream *s, size_t size) {
  size_t whole = st_round_up(size) + ST_PADDING;
  void *found = s->arena ? s->arena + s->arena_used : NULL;
  s->arena_used += whole;
  return found;
}

static bool st_buffer_of(streaming_stream *s, const st_place *place, void *memory, st_handle *buffer) {
  if (!s->arena) return true;
  return s->model->lib.CreateTensorBufferFromHostMemory(&place->ranked, memory, place->bytes, NULL, buffer) == 0;
}

static bool st_prepare(streaming_stream *s, const st_signature *signature, st_run *run) {
  run->signature = signature;
  if (!signature->there) return true;
  for (int side = 0; side < 2; side++) {
    size_t count = side ? signature->outputs : signature->inputs;
    const st_place *places = side ? signature->out : signature->in;
    for (size_t i = 0; i < count; i++) {
      const st_place *place = &places[i];
      if (place->role == ST_STATE) continue;
      void *memory = st_take(s, place->bytes);
      *(side ? &run->out_memory[i] : &run->in_memory[i]) = memory;
      if (place->role == ST_INPUT || place->role == ST_SOURCE) run->inputs[place->index] = memory;
      if (place->role == ST_OUTPUT) run->outputs[place->index] = memory;
      if (place->role == ST_MARK || place->role == ST_SOURCE_MARK) run->marks[place->index] = memory;
      if (place->role == ST_VALID) run->valid = memory;
      if (!st_buffer_of(s, place, memory, side ? &run->out[i] : &run->in[i])) return false;
    }
  }
  return true;
}

static const st_place *st_state_place(const st_signature *s, size_t pack) {
  for (size_t i = 0; i < s->inputs; i++)
    if (s->in[i].role == ST_STATE && s->in[i].index == pack) return &s->in[i];
  return NULL;
}

static bool st_lay_out(streaming_stream *s) {
  streaming_model *m = s->model;
  s->arena_used = 0;
  bool good = st_prepare(s, &m->step, &s->step) && st_prepare(s, &m->steps, &s->steps) && st_prepare(s, &m->fill, &s->fill) &&
              st_prepare(s, &m->encode, &s->encode) && st_prepare(s, &m->reset, &s->reset);
  for (size_t i = 0; good && !m->internal && i < m->pack_count; i++) {
    const st_place *place = st_state_place(&m->step, i);
    for (int turn = 0; good && turn < 2; turn++) {
      s->state_memory[turn][i] = st_take(s, m->packs[i].bytes);
      good = place && st_buffer_of(s, place, s->state_memory[turn][i], &s->states[turn][i]);
    }
  }
  for (size_t i = 0; i < m->input_count; i++) s->held[i] = st_take(s, m->inputs[i].info.bytes * (m->inputs[i].info.time ? m->unit : 1));
  for (size_t i = 0; i < m->output_count; i++)
    s->kept[i] = st_take(s, m->outputs[i].info.bytes * (m->chunk * m->outputs[i].info.up / m->outputs[i].info.down));
  return good;
}

static void st_destroy(streaming_stream *s, st_handle *buffers) {
  for (size_t i = 0; i < ST_MAX_TENSORS; i++)
    if (buffers[i]) s->model->lib.DestroyTensorBuffer(buffers[i]);
}

streaming_model *streaming_model_of(const streaming_stream *s) { return s ? s->model : NULL; }

void streaming_free(streaming_stream *s) {
  if (!s) return;
  st_run *runs[] = {&s->step, &s->steps, &s->fill, &s->encode, &s->reset};
  for (size_t i = 0; i < 5; i++) {
    st_destroy(s, runs[i]->in);
    st_destroy(s, runs[i]->out);
  }
  st_destroy(s, s->states[0]);
  st_destroy(s, s->states[1]);
  streaming_model *m = s->model;
  free(s->arena);
  free(s);
  if (--m->streams == 0 && m->closed) streaming_close(m);
}

streaming_code streaming_create(streaming_model *m, streaming_stream **stream) {
  if (!m || !stream) return st_fail(STREAMING_ARGUMENT, "streaming_create was given NULL; give a model and a place for the stream");
  *stream = NULL;
  if (m->closed) return st_fail(STREAMING_STATE, "the model is closed; open the file again");
  if (m->internal && m->streams)
    return st_fail(STREAMING_STATE, "the model keeps the state of one stream inside; free that stream, or open the file again");
  streaming_stream *s = st_calloc(1, sizeof *s);
  if (!s) return st_no_memory();
  s->model = m;
  m->streams++;
  st_lay_out(s);
  s->arena_size = s->arena_used;
  s->arena = st_zeros(s->arena_size);
  if (!s->arena) {
    streaming_free(s);
    return st_no_memory();
  }
  streaming_code code = st_lay_out(s) ? streaming_reset(s) : st_runtime("make a buffer", 0);
  if (code == STREAMING_OK)
    *stream = s;
  else
    streaming_free(s);
  return code;
}

/* One invoke: states in by `turn`, and out into the other buffers, which become the states, or are copied to them. */
static streaming_code st_invoke(streaming_stream *s, st_run *run) {
  const streaming_model *m = s->model;
  const st_signature *signature = run->signature;
  bool moves = false;
  for (size_t i = 0; i < signature->inputs; i++)
    if (signature->in[i].role == ST_STATE) run->in[i] = s->states[s->turn][signature->in[i].index];
  for (size_t i = 0; i < signature->outputs; i++)
    if (signature->out[i].role == ST_STATE) {
      run->out[i] = s->states[!s->turn][signature->out[i].index];
      moves = true;
    }
  s->model->used = true;
  int code = m->lib.RunCompiledModel(m->compiled, signature->index, signature->inputs, run->in, signature->outputs, run->out);
  for (size_t i = 0; i < signature->inputs; i++)
    if (signature->in[i].role == ST_STATE) run->in[i] = NULL; /* those are the stream's */
  for (size_t i = 0; i < signature->outputs; i++)
    if (signature->out[i].role == ST_STATE) run->out[i] = NULL;
  if (code) return st_runtime("run the model", code);
  if (moves && m->copies) {
    for (size_t i = 0; i < signature->outputs; i++)
      if (signature->out[i].role == ST_STATE) {
        size_t pack = signature->out[i].index;
        memcpy(s->state_memory[s->turn][pack], s->state_memory[!s->turn][pack], m->packs[pack].bytes);
      }
  } else if (moves) {
    s->turn = !s->turn;
  }
  return STREAMING_OK;
}

/* Fill with the zero of an input: zeros, or its zero point. */
static void st_fill_zero(const streaming_tensor *info, void *memory, size_t elements) {
  int64_t zero = info->zero_point;
  size_t size = st_item_bytes(info->type);
  if (!zero || info->type == STREAMING_FLOAT32 || info->type == STREAMING_FLOAT64 || info->type == STREAMING_FLOAT16) {
    memset(memory, 0, elements * size);
    return;
  }
  for (size_t i = 0; i < elements; i++)
    for (size_t b = 0; b < size; b++) ((unsigned char *)memory)[i * size + b] = (unsigned char)((uint64_t)zero >> (8 * b));
}

static void st_fill_flags(streaming_type type, void *memory, size_t count, size_t ones) {
  for (size_t i = 0; i < count; i++) {
    if (type == STREAMING_BOOL)
      ((unsigned char *)memory)[i] = i < ones;
    else
      ((int32_t *)memory)[i] = i < ones;
  }
}

static bool st_marked(streaming_type type, const void *memory, size_t i) {
  return type == STREAMING_BOOL ? ((const unsigned char *)memory)[i] != 0 : ((const int32_t *)memory)[i] != 0;
}

streaming_code streaming_reset(streaming_stream *s) {
  if (!s) return st_fail(STREAMING_ARGUMENT, "streaming_reset was given NULL");
  streaming_model *m = s->model;
  if (m->internal && m->reset.there) {
    ST_TRY(st_invoke(s, &s->reset));
  } else if (m->internal && m->used) {
    int code = 1; /* nothing in the file sets the state: another interpreter does */
    m->lib.DestroyCompiledModel(m->compiled);
    m->compiled = NULL;
    code = m->lib.CreateCompiledModel(m->environment, m->model, m->options, &m->compiled);
    if (code) return st_runtime("begin anew", code);
    m->used = false;
  }
  for (size_t i = 0; !m->internal && i < m->pack_count; i++) {
    if (m->packs[i].initial)
      memcpy(s->state_memory[s->turn][i], m->packs[i].initial, m->packs[i].bytes);
    else
      memset(s->state_memory[s->turn][i], 0, m->packs[i].bytes);
  }
  for (size_t i = 0; i < m->input_count; i++)
    st_fill_zero(&m->inputs[i].info, s->held[i], m->inputs[i].info.elements * (m->inputs[i].info.time ? m->unit : 1));
  s->position = 0;
  s->waiting = m->lead;
  s->has_held = m->lead > 0;
  s->closed = m->source_count ? ST_SOURCELESS : ST_OPEN;
  return STREAMING_OK;
}

void streaming_allow_nan(streaming_stream *s, int allow) {
  if (s) s->allow_nan = allow != 0;
}

size_t streaming_position(const streaming_stream *s) { return s ? s->position + s->waiting - s->model->lead : 0; }

static int64_t st_integer(streaming_type type, const void *data, size_t i) {
  switch (type) {
    case STREAMING_INT8:
      return ((const int8_t *)data)[i];
    case STREAMING_UINT8:
    case STREAMING_BOOL:
      return ((const uint8_t *)data)[i];
    case STREAMING_INT16:
      return ((const int16_t *)data)[i];
    case STREAMING_INT64:
      return ((const int64_t *)data)[i];
    default:
      return ((const int32_t *)data)[i];
  }
}

static streaming_code st_check_values(const streaming_stream *s, const streaming_tensor *info, const void *data, size_t count) {
  if (info->type == STREAMING_FLOAT32 && !s->allow_nan) {
    const float *values = data;
    uint32_t bits, wrong = 0; /* exponents of ones: a loop without branches, since each step takes it */
    for (size_t i = 0; i < count; i++) {
      memcpy(&bits, values + i, sizeof bits);
      wrong |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    for (size_t i = 0; wrong && i < count; i++)
      if (!isfinite(values[i]))
        return st_fail(STREAMING_INPUT, "input %.80s holds %g at %zu, expected finite numbers; clean it", info->name, (double)values[i], i);
  }
  bool whole = info->type != STREAMING_FLOAT32 && info->type != STREAMING_FLOAT64 && info->type != STREAMING_FLOAT16;
  for (size_t i = 0; whole && (info->has_low || info->has_high) && i < count; i++) {
    int64_t value = st_integer(info->type, data, i);
    if ((info->has_low && value < info->low) || (info->has_high && value >= info->high))
      return st_fail(STREAMING_INPUT, "input %.80s holds %lld, expected %lld to %lld; map what is unknown to the unknown id", info->name,
                     (long long)value, (long long)info->low, (long long)info->high - 1);
  }
  return STREAMING_OK;
}

static streaming_code st_check_inputs(const streaming_stream *s, const void *const *inputs, size_t steps) {
  const streaming_model *m = s->model;
  if (!inputs && (steps || m->statics)) return st_fail(STREAMING_ARGUMENT, "inputs are NULL; give one pointer for each input");
  for (size_t i = 0; inputs && i < m->input_count; i++) {
    const streaming_tensor *info = &m->inputs[i].info;
    size_t count = info->elements * (info->time ? steps : 1);
    if (!count) continue;
    if (!inputs[i]) return st_fail(STREAMING_ARGUMENT, "input %.80s is NULL; give its values", info->name);
    ST_TRY(st_check_values(s, info, inputs[i], count));
  }
  return STREAMING_OK;
}

static streaming_code st_check_open(const streaming_stream *s) {
  if (s->closed == ST_SOURCELESS) return st_fail(STREAMING_STATE, "the stream has not seen its source; call streaming_encode first");
  if (s->closed != ST_OPEN) return st_fail(STREAMING_STATE, "the stream is %s; call streaming_reset to start a new sequence", st_closed_names[s->closed]);
  return STREAMING_OK;
}

/* Copies `size` steps into a run: first of the held ones, then of x from `done` on; x may be NULL for zeros. */
static void st_gather(streaming_stream *s, st_run *run, const void *const *x, size_t done, size_t old, size_t size, size_t given) {
  const streaming_model *m = s->model;
  for (size_t i = 0; i < m->input_count; i++) {
    const streaming_tensor *info = &m->inputs[i].info;
    unsigned char *to = run->inputs[i];
    if (!info->time) {
      memcpy(to, x ? x[i] : s->held[i], info->bytes);
      continue;
    }
    if (!info->bytes) continue;
    size_t first = old > size ? size : old, rest = size - first, there = rest > given ? given : rest;
    memcpy(to, s->held[i], first * info->bytes);
    if (there) memcpy(to + first * info->bytes, (const unsigned char *)x[i] + done * info->bytes, there * info->bytes);
    if (there < rest) st_fill_zero(info, to + (first + there) * info->bytes, (rest - there) * info->elements);
  }
}

/* Gives the rows of an invoke that exist; `total` is the length of the sequence where it is known. */
static void st_give(streaming_stream *s, st_run *run, size_t begin, bool known, size_t total, streaming_sink sink, void *user) {
  const streaming_model *m = s->model;
  for (size_t i = 0; i < m->output_count; i++) {
    const st_tensor *out = &m->outputs[i];
    unsigned char *rows = run->outputs[i];
    size_t count = run->signature->chunk * out->info.up / out->info.down, first = 0;
    if (*out->mark) {
      for (size_t r = 0; r < count;) {
        size_t end = r;
        while (end < count && st_marked(m->flags, run->marks[i], end)) end++;
        if (end > r) sink(user, i, rows + r * out->info.bytes, end - r);
        r = end + 1;
      }
      continue;
    }
    if (begin / m->hop < out->start) first = out->start - begin / m->hop;
    if (known) {
      size_t stop = total + out->end, last = stop > begin ? (stop - begin) * out->info.up / out->info.down : 0;
      if (last < count) count = last;
    }
    if (first < count) sink(user, i, rows + first * out->info.bytes, count - first);
  }
}

static void st_hold(streaming_stream *s, const void *const *x, size_t done, size_t steps, size_t skip, size_t old) {
  const streaming_model *m = s->model;
  for (size_t i = 0; i < m->input_count; i++) {
    const streaming_tensor *info = &m->inputs[i].info;
    unsigned char *held = s->held[i];
    if (!info->time) {
      if (x) memcpy(held, x[i], info->bytes);
      continue;
    }
    if (skip && old) memmove(held, held + skip * info->bytes, old * info->bytes);
    if (steps && info->bytes) memcpy(held + old * info->bytes, (const unsigned char *)x[i] + done * info->bytes, steps * info->bytes);
  }
}

streaming_code streaming_feed(streaming_stream *s, const void *const *x, size_t steps, streaming_sink sink, void *user) {
  if (!s || !sink) return st_fail(STREAMING_ARGUMENT, "streaming_feed was given NULL; give a stream and a sink");
  ST_TRY(st_check_open(s));
  ST_TRY(st_check_inputs(s, x, steps));
  streaming_model *m = s->model;
  size_t old = s->waiting, skip = 0, done = 0; /* held steps that are left and were taken, and steps of x */
  while (old + (steps - done) >= m->unit) {
    bool fills = m->fill.there && s->position + m->unit <= m->filled;
    bool large = !fills && m->chunk != m->unit && old + (steps - done) >= m->chunk;
    st_run *run = fills ? &s->fill : large ? &s->steps : &s->step;
    size_t size = large ? m->chunk : m->unit;
    if (skip) st_hold(s, NULL, 0, 0, skip, old), skip = 0;
    st_gather(s, run, x, done, old, size, steps - done);
    if (run->valid) st_fill_flags(m->flags, run->valid, size, size);
    streaming_code code = st_invoke(s, run);
    if (code != STREAMING_OK) {
      s->waiting = old;
      return code;
    }
    size_t begin = s->position, used = old > size ? size : old;
    s->position += size;
    old -= used;
    skip += used;
    done += size - used;
    s->waiting = old;
    if (!fills) st_give(s, run, begin, false, 0, sink, user);
  }
  st_hold(s, x, done, steps - done, skip, old);
  s->waiting = old + steps - done;
  s->has_held = s->waiting || (m->statics && x);
  return STREAMING_OK;
}

typedef struct st_step_rows {
  streaming_stream *stream;
  streaming_rows *rows;
} st_step_rows;

/* Rows of one invoke are given where they are; those of several are joined. */
static void st_keep_rows(void *user, size_t output, const void *data, size_t count) {
  st_step_rows *kept = user;
  streaming_stream *s = kept->stream;
  size_t bytes = s->model->outputs[output].info.bytes, before = kept->rows[output].count;
  if (!before) {
    kept->rows[output] = (streaming_rows){data, count};
    s->kept_rows[output] = 0;
    return;
  }
  if (!s->kept_rows[output]) memmove(s->kept[output], kept->rows[output].data, before * bytes);
  memcpy((unsigned char *)s->kept[output] + before * bytes, data, count * bytes);
  s->kept_rows[output] = before + count;
  kept->rows[output] = (streaming_rows){s->kept[output], before + count};
}

streaming_code streaming_step(streaming_stream *s, const void *const *x, streaming_rows *rows) {
  if (!s || !rows) return st_fail(STREAMING_ARGUMENT, "streaming_step was given NULL; give a stream and a place for the rows");
  ST_TRY(st_check_open(s));
  if (s->waiting != s->model->lead)
    return st_fail(STREAMING_STATE, "%zu steps of streaming_feed wait for %zu; go on with it until the chunk is whole", s->waiting - s->model->lead, s->model->unit);
  for (size_t i = 0; i < s->model->output_count; i++) rows[i] = (streaming_rows){s->kept[i], 0};
  st_step_rows kept = {s, rows};
  return streaming_feed(s, x, s->model->chunk, st_keep_rows, &kept);
}

streaming_code streaming_finish(streaming_stream *s, streaming_sink sink, void *user) {
  if (!s || !sink) return st_fail(STREAMING_ARGUMENT, "streaming_finish was given NULL; give a stream and a sink");
  ST_TRY(st_check_open(s));
  streaming_model *m = s->model;
  size_t total = s->position + s->waiting, end = total > m->lead ? total + m->flush : 0, old = s->waiting, skip = 0;
  if (m->window) end = m->pad && total > m->lead ? total : s->position;
  while (s->position < end) {
    st_run *run = &s->step;
    if (skip) st_hold(s, NULL, 0, 0, skip, old), skip = 0;
    st_gather(s, run, NULL, 0, old, m->unit, 0);
    if (run->valid) st_fill_flags(m->flags, run->valid, m->unit, total > s->position ? total - s->position : 0);
    ST_TRY(st_invoke(s, run));
    size_t begin = s->position, used = old > m->unit ? m->unit : old;
    s->position += m->unit;
    old -= used;
    skip += used;
    st_give(s, run, begin, !m->window, total, sink, user);
  }
  s->position = total;
  s->waiting = 0;
  s->has_held = false;
  s->closed = ST_FINISHED;
  return STREAMING_OK;
}

streaming_code streaming_encode(streaming_stream *s, const void *const *sources, const size_t *lengths) {
  if (!s || !sources || !lengths) return st_fail(STREAMING_ARGUMENT, "streaming_encode was given NULL; give a stream, sources and lengths");
  streaming_model *m = s->model;
  if (!m->source_count) return st_fail(STREAMING_STATE, "the model has no signature encode; begin with streaming_step or streaming_feed");
  if (s->closed != ST_SOURCELESS) return st_fail(STREAMING_STATE, "the stream has its source already; call streaming_reset to give it another");
  for (size_t i = 0; i < m->source_count; i++) {
    const streaming_tensor *info = &m->sources[i].info;
    size_t length = info->time ? lengths[i] : 1;
    if (!sources[i]) return st_fail(STREAMING_ARGUMENT, "source %.80s is NULL; give its values", info->name);
    if (info->time && (!length || length > m->max_length))
      return st_fail(STREAMING_INPUT, "source %.80s has %zu positions, expected 1 to %zu; shorten it", info->name, length, m->max_length);
    ST_TRY(st_check_values(s, info, sources[i], info->elements * length));
  }
  for (size_t i = 0; i < m->source_count; i++) {
    const streaming_tensor *info = &m->sources[i].info;
    size_t length = info->time ? lengths[i] : 1, whole = info->time ? m->max_length : 1;
    memcpy(s->encode.inputs[i], sources[i], length * info->bytes);
    memset((unsigned char *)s->encode.inputs[i] + length * info->bytes, 0, (whole - length) * info->bytes);
    if (info->time) st_fill_flags(m->flags, s->encode.marks[i], whole, length);
  }
  /* The context goes into the buffer that is not the state's, and is copied: both have to hold it. */
  size_t context = m->pack_count - 1;
  int turn = s->turn;
  ST_TRY(st_invoke(s, &s->encode));
  s->turn = turn;
  memcpy(s->state_memory[turn][context], s->state_memory[!turn][context], m->packs[context].bytes);
  s->closed = ST_OPEN;
  return STREAMING_OK;
}
