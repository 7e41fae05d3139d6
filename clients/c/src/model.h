/* The file: what streaming.json says, held against the graph. */
#define ST_MAX_TENSORS 64
#define ST_MAX_SIGNATURES 64
#define ST_SCHEMA 3
/* LiteRT takes a microsecond to set up other buffers than those of the invoke before: so many bytes are copied in less. */
#define ST_COPIED ((size_t)32 << 10)

typedef struct st_tensor {
  streaming_tensor info;
  char name[128], mark[128]; /* of an output: its mask; of a source: its mask */
  size_t start, end;
} st_tensor;

typedef struct st_pack {
  char input[128], output[128];
  streaming_type type;
  size_t size, bytes;
  const unsigned char *initial;
} st_pack;

/* A tensor of a signature, and which one of the metadata it is. */
typedef enum st_role { ST_INPUT, ST_VALID, ST_OUTPUT, ST_MARK, ST_STATE, ST_SOURCE, ST_SOURCE_MARK, ST_OTHER } st_role;

typedef struct st_place {
  st_role role;
  size_t index, bytes;
  st_ranked ranked;
} st_place;

typedef struct st_signature {
  bool there;
  size_t index, chunk, inputs, outputs;
  st_place in[ST_MAX_TENSORS], out[ST_MAX_TENSORS];
} st_signature;

struct streaming_model {
  unsigned char *content;
  size_t size;
  st_file files[ST_MAX_FILES];
  size_t file_count;
  st_json *meta;
  char fingerprint[65], valid[128];
  streaming_type flags;
  st_tensor inputs[ST_MAX_TENSORS], outputs[ST_MAX_TENSORS], sources[ST_MAX_TENSORS];
  size_t input_count, output_count, source_count, max_length;
  st_table *tables[ST_MAX_TENSORS]; /* of inputs that take strings, NULL for others */
  st_pack packs[ST_MAX_TENSORS];
  size_t pack_count;
  size_t chunk, unit, delay, flush, window, hop, lead, filled;
  bool pad, internal, statics;
  bool copies; /* whether new states are copied to where the old ones were, instead of the two changing places */
  bool used; /* whether the compiled model has run, so that states inside of it are no longer the first */
  st_signature step, steps, fill, encode, reset; /* steps: of a chunk, where it is no step */
  const st_json *task;
  st_litert lib;
  st_handle environment, model, options, compiled;
  size_t streams;
  bool closed; /* and freed with the last stream */
};

static streaming_code st_wrong(const char *what) {
  return st_fail(STREAMING_FILE, "streaming.json: %s is missing or wrong; convert the model again", what);
}

static size_t st_item_bytes(streaming_type type) {
  switch (type) {
    case STREAMING_UINT8:
    case STREAMING_INT8:
    case STREAMING_BOOL:
      return 1;
    case STREAMING_INT16:
    case STREAMING_FLOAT16:
      return 2;
    case STREAMING_INT64:
    case STREAMING_FLOAT64:
      return 8;
    default:
      return 4;
  }
}

static bool st_type_of(const char *name, streaming_type flags, streaming_type *type) {
  static const struct {
    const char *name;
    streaming_type type;
  } known[] = {{"float32", STREAMING_FLOAT32}, {"int32", STREAMING_INT32}, {"uint8", STREAMING_UINT8}, {"int8", STREAMING_INT8},
               {"int64", STREAMING_INT64},     {"int16", STREAMING_INT16}, {"float16", STREAMING_FLOAT16}, {"float64", STREAMING_FLOAT64}};
  if (!strcmp(name, "bool")) return *type = flags, true;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (!strcmp(name, known[i].name)) return *type = known[i].type, true;
  return false;
}

static bool st_copy_name(char out[128], const char *name) {
  size_t length = strlen(name);
  if (length >= 128) return false;
  memcpy(out, name, length + 1);
  return true;
}

static streaming_code st_read_tensor(const st_json *item, streaming_type flags, st_tensor *tensor) {
  streaming_tensor *info = &tensor->info;
  const st_json *tensor_of_ids = st_get(item, "tensor"), *graph = tensor_of_ids ? tensor_of_ids : item;
  const char *dtype = st_text(graph, "dtype", "");
  if (!st_copy_name(tensor->name, st_text(item, "name", "")) || !*tensor->name) return st_wrong("the name of a tensor");
  info->name = tensor->name;
  if (!st_type_of(dtype, flags, &info->type)) return st_wrong("the dtype of a tensor");
  const st_json *shape = st_list(graph, "shape");
  if (!shape || shape->count > 8) return st_wrong("the shape of a tensor");
  info->elements = 1;
  for (const st_json *size = shape->first; size; size = size->next) {
    if (size->kind != ST_NUMBER || !(size->number >= 0 && size->number <= ST_MAX_TENSOR) || floor(size->number) != size->number)
      return st_wrong("the shape of a tensor");
    info->shape[info->rank++] = (size_t)size->number;
    if (!st_times(info->elements, (size_t)size->number, &info->elements)) return st_wrong("the shape of a tensor");
  }
  if (!st_times(info->elements, st_item_bytes(info->type), &info->bytes)) return st_wrong("the shape of a tensor");
  info->time = st_flag(item, "time", true);
  const st_json *low = st_get(item, "low"), *high = st_get(item, "high");
  info->has_low = low != NULL;
  info->has_high = high != NULL;
  double least = st_number(item, "low", 0), most = st_number(item, "high", 0), zero = st_number(item, "zero_point", 0);
  if (fabs(least) > 9e15 || fabs(most) > 9e15 || fabs(zero) > 2147483648.0) return st_wrong("a range");
  info->low = (int64_t)least;
  info->high = (int64_t)most;
  info->scale = st_number(item, "scale", 0);
  info->zero_point = (int64_t)zero;
  if (!strcmp(dtype, "bool")) info->has_low = info->has_high = 1, info->low = 0, info->high = 2;
  info->up = info->down = 1;
  return STREAMING_OK;
}

static streaming_code st_read_tensors(const st_json *list, streaming_type flags, st_tensor *tensors, size_t *count) {
  if (!list || list->count > ST_MAX_TENSORS) return st_wrong("a list of tensors");
  for (const st_json *item = list->first; item; item = item->next) ST_TRY(st_read_tensor(item, flags, &tensors[(*count)++]));
  return STREAMING_OK;
}

/* The table of each input that takes strings. */
static streaming_code st_read_tables(streaming_model *m) {
  size_t i = 0;
  for (const st_json *item = st_list(m->meta, "inputs")->first; item; item = item->next, i++) {
    const char *name = st_text(item, "table", NULL);
    if (!name) continue;
    streaming_tensor *info = &m->inputs[i].info;
    st_table *table = m->tables[i] = st_read_table(st_find_file(m->files, m->file_count, name));
    if (!table) return st_fail(STREAMING_FILE, "%.80s is no table of words that this version reads; convert the model again", name);
    size_t elements = table->kind != ST_TEXTS ? info->elements : table->length ? table->length : 1;
    if ((info->type != STREAMING_INT32 && info->type != STREAMING_INT64) || !info->time || !info->elements || info->elements != elements)
      return st_wrong("an input of strings");
    info->strings = 1;
  }
  return STREAMING_OK;
}

static streaming_code st_read_outputs(streaming_model *m) {
  const st_json *list = st_list(m->meta, "outputs");
  ST_TRY(st_read_tensors(list, m->flags, m->outputs, &m->output_count));
  size_t i = 0;
  for (const st_json *item = list->first; item; item = item->next, i++) {
    st_tensor *out = &m->outputs[i];
    const st_json *rate = st_list(item, "rate");
    double up = 1, down = 1;
    if (rate) {
      if (rate->count != 2) return st_wrong("a rate");
      up = rate->first->number;
      down = rate->first->next->number;
    }
    if (!(up >= 1 && up <= 65536 && down >= 1 && down <= 65536)) return st_wrong("a rate");
    out->info.up = (size_t)up;
    out->info.down = (size_t)down;
    if (m->unit * out->info.up % out->info.down) return st_wrong("a rate");
    if (!st_copy_name(out->mark, st_text(item, "valid", "")) || !st_whole(item, "start", 0, 1 << 20, 0, &out->start) ||
        !st_whole(item, "end", 0, 1 << 20, 0, &out->end) || out->end > m->flush)
      return st_wrong("an output");
    size_t rows;
    if (!st_times(m->chunk * out->info.up / out->info.down, out->info.bytes ? out->info.bytes : 1, &rows))
      return st_wrong("an output");
  }
  return STREAMING_OK;
}

static streaming_code st_read_packs(streaming_model *m) {
  const st_json *list = st_list(m->meta, "packs");
  if (list && list->count > ST_MAX_TENSORS) return st_wrong("packs");
  for (const st_json *item = list ? list->first : NULL; item; item = item->next) {
    st_pack *pack = &m->packs[m->pack_count++];
    if (!st_copy_name(pack->input, st_text(item, "input", "")) || !st_copy_name(pack->output, st_text(item, "output", "")) ||
        !*pack->input || !st_type_of(st_text(item, "dtype", ""), STREAMING_BOOL, &pack->type) ||
        !st_whole(item, "size", 0, ST_MAX_TENSOR / 8, -1, &pack->size) || (item->next && !*pack->output))
      return st_wrong("a pack");
    pack->bytes = pack->size * st_item_bytes(pack->type);
    const char *initial = st_text(item, "initial", NULL);
    if (initial) {
      const st_file *file = st_find_file(m->files, m->file_count, initial);
      if (!file || file->size != pack->bytes) return st_wrong("the initial value of a pack");
      pack->initial = file->data;
    }
  }
  return STREAMING_OK;
}

static streaming_code st_read_encode(streaming_model *m) {
  const st_json *encode = st_get(m->meta, "encode"), *valid = st_get(encode, "valid");
  bool context = m->pack_count && !*m->packs[m->pack_count - 1].output;
  if (!encode) return context ? st_wrong("encode") : STREAMING_OK;
  if (!context || !st_whole(encode, "max_length", 0, 1 << 20, -1, &m->max_length)) return st_wrong("encode");
  ST_TRY(st_read_tensors(st_list(encode, "inputs"), m->flags, m->sources, &m->source_count));
  for (size_t i = 0; i < m->source_count; i++) {
    st_tensor *source = &m->sources[i];
    size_t bytes;
    if (source->info.time && (!st_copy_name(source->mark, st_text(valid, source->name, "")) || !*source->mark))
      return st_wrong("the mask of a source");
    if (!st_times(source->info.bytes ? source->info.bytes : 1, m->max_length + 1, &bytes)) return st_wrong("encode");
  }
  return m->source_count ? STREAMING_OK : st_wrong("encode");
}

static streaming_code st_read_meta(streaming_model *m) {
  size_t schema;
  if (!st_whole(m->meta, "schema", 1, ST_SCHEMA, -1, &schema)) {
    double found = st_number(m->meta, "schema", 0);
    return st_fail(found > ST_SCHEMA ? STREAMING_VERSION : STREAMING_FILE,
                   "streaming.json has schema %g, this client reads 1 to %d; update it or convert the model again", found, ST_SCHEMA);
  }
  const char *flags = st_text(m->meta, "flags", "bool"), *state = st_text(m->meta, "state", "external");
  if (strcmp(flags, "bool") && strcmp(flags, "int32")) return st_wrong("flags");
  m->flags = strcmp(flags, "bool") ? STREAMING_INT32 : STREAMING_BOOL;
  if (strcmp(state, "external") && strcmp(state, "internal")) return st_wrong("state");
  m->internal = !strcmp(state, "internal");
  const char *pad = st_text(m->meta, "pad", NULL);
  m->pad = pad != NULL;
  if (!st_whole(m->meta, "chunk", 1, 1 << 20, 1, &m->chunk) || !st_whole(m->meta, "unit", 1, 1 << 20, 1, &m->unit) ||
      m->chunk % m->unit || !st_whole(m->meta, "delay", 0, 1 << 20, 0, &m->delay) ||
      !st_whole(m->meta, "flush", 0, 1 << 20, 0, &m->flush) || !st_whole(m->meta, "window", 1, 1 << 20, 1, &m->window) ||
      !st_whole(m->meta, "hop", 1, 1 << 20, 1, &m->hop) || !st_whole(m->meta, "lead", 0, 1 << 20, 0, &m->lead) ||
      m->lead >= m->unit)
    return st_wrong("a number of steps");
  if (!st_get(m->meta, "window")) m->window = 0;
  if (m->window ? m->unit != m->hop || m->flush : m->hop != 1 || m->lead || m->pad) return st_wrong("the window");
  if (!st_copy_name(m->valid, st_text(m->meta, "valid", ""))) return st_wrong("valid");
  ST_TRY(st_read_tensors(st_list(m->meta, "inputs"), m->flags, m->inputs, &m->input_count));
  bool timed = false;
  for (size_t i = 0; i < m->input_count; i++) {
    size_t bytes;
    if (!st_times(m->chunk, m->inputs[i].info.bytes ? m->inputs[i].info.bytes : 1, &bytes)) return st_wrong("an input");
    timed = timed || m->inputs[i].info.time;
    m->statics = m->statics || !m->inputs[i].info.time;
  }
  ST_TRY(st_read_tables(m));
  ST_TRY(st_read_outputs(m));
  if (!timed || !m->output_count) return st_wrong("an input with steps, or an output,");
  ST_TRY(st_read_packs(m));
  ST_TRY(st_read_encode(m));
  size_t bytes = 0;
  for (size_t i = 0; i < m->pack_count; i++) bytes += m->packs[i].bytes;
  m->copies = bytes <= ST_COPIED;
  m->filled = m->outputs[0].start;
  for (size_t i = 1; i < m->output_count; i++)
    if (m->outputs[i].start < m->filled) m->filled = m->outputs[i].start;
  m->filled *= m->hop;
  m->task = st_get(m->meta, "task");
  return STREAMING_OK;
}

static streaming_code st_disagree(const char *signature, const char *name) {
  return st_fail(STREAMING_FILE, "signature %.40s: tensor %.80s is another than streaming.json says; convert the model again", signature, name);
}

/* Which tensor of the metadata a name of a signature is, and how many elements of which type it must have. */
static bool st_find_place(const streaming_model *m, const char *key, const st_signature *s, const char *name, bool in, st_place *place,
                          size_t *elements, streaming_type *type) {
  bool encode = !strcmp(key, "encode");
  for (size_t i = 0; in && !encode && i < m->input_count; i++)
    if (!strcmp(name, m->inputs[i].name)) {
      *place = (st_place){ST_INPUT, i, 0, {0}};
      *type = m->inputs[i].info.type;
      *elements = m->inputs[i].info.elements * (m->inputs[i].info.time ? s->chunk : 1);
      return true;
    }
  if (in && !encode && *m->valid && !strcmp(name, m->valid)) {
    *place = (st_place){ST_VALID, 0, 0, {0}};
    return *type = m->flags, *elements = s->chunk, true;
  }
  for (size_t i = 0; in && encode && i < m->source_count; i++) {
    const st_tensor *source = &m->sources[i];
    if (!strcmp(name, source->name)) {
      *place = (st_place){ST_SOURCE, i, 0, {0}};
      return *type = source->info.type, *elements = source->info.elements * (source->info.time ? m->max_length : 1), true;
    }
    if (source->info.time && !strcmp(name, source->mark)) {
      *place = (st_place){ST_SOURCE_MARK, i, 0, {0}};
      return *type = m->flags, *elements = m->max_length, true;
    }
  }
  for (size_t i = 0; !in && !encode && strcmp(key, "fill") && i < m->output_count; i++) {
    const st_tensor *out = &m->outputs[i];
    size_t rows = s->chunk * out->info.up / out->info.down;
    if (!strcmp(name, out->name)) {
      *place = (st_place){ST_OUTPUT, i, 0, {0}};
      return *type = out->info.type, *elements = rows * out->info.elements, true;
    }
    if (*out->mark && !strcmp(name, out->mark)) {
      *place = (st_place){ST_MARK, i, 0, {0}};
      return *type = m->flags, *elements = rows, true;
    }
  }
  for (size_t i = 0; i < m->pack_count; i++) {
    const char *own = in ? m->packs[i].input : encode ? m->packs[i].input : m->packs[i].output;
    if ((encode && (in || *m->packs[i].output)) || !*own || strcmp(name, own)) continue;
    *place = (st_place){ST_STATE, i, 0, {0}};
    return *type = m->packs[i].type, *elements = m->packs[i].size, true;
  }
  *place = (st_place){ST_OTHER, 0, 0, {0}};
  return !in && !strcmp(name, "done");
}

static streaming_code st_read_tensor_of(streaming_model *m, const char *key, const st_signature *s, size_t i, st_handle signature, bool in, st_place *place) {
  const char *name = NULL;
  st_handle tensor = NULL;
  st_ranked ranked;
  int failed = in ? m->lib.GetSignatureInputName(signature, i, &name) || m->lib.GetSignatureInputTensorByIndex(signature, i, &tensor)
                  : m->lib.GetSignatureOutputName(signature, i, &name) || m->lib.GetSignatureOutputTensorByIndex(signature, i, &tensor);
  memset(&ranked, 0, sizeof ranked);
  if (failed || !name || m->lib.GetRankedTensorType(tensor, &ranked)) return st_disagree(key, name ? name : "?");
  size_t elements = 1, expected = 1;
  for (unsigned k = 0; k < ranked.layout.rank; k++) {
    if (ranked.layout.dimensions[k] < 0 || !st_times(elements, (size_t)ranked.layout.dimensions[k], &elements))
      return st_disagree(key, name);
  }
  streaming_type type = STREAMING_BOOL;
  if (!strcmp(key, "reset")) {
    *place = (st_place){ST_OTHER, 0, 0, {0}};
    if (in) return st_disagree(key, name);
  } else if (!st_find_place(m, key, s, name, in, place, &expected, &type)) {
    return st_disagree(key, name);
  }
  if (place->role != ST_OTHER && (elements != expected || ranked.element != (int)type)) return st_disagree(key, name);
  place->ranked = ranked;
  if (!st_times(elements, st_item_bytes((streaming_type)ranked.element), &place->bytes)) return st_disagree(key, name);
  return STREAMING_OK;
}

static size_t st_count_role(const st_place *places, size_t count, st_role role) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) found += places[i].role == role;
  return found;
}

static streaming_code st_read_signature(streaming_model *m, const char *key, size_t index, st_handle signature, st_signature *s) {
  s->there = true;
  s->index = index;
  if (m->lib.GetNumSignatureInputs(signature, &s->inputs) || m->lib.GetNumSignatureOutputs(signature, &s->outputs) ||
      s->inputs > ST_MAX_TENSORS || s->outputs > ST_MAX_TENSORS)
    return st_disagree(key, "?");
  for (size_t i = 0; i < s->inputs; i++) ST_TRY(st_read_tensor_of(m, key, s, i, signature, true, &s->in[i]));
  for (size_t i = 0; i < s->outputs; i++) ST_TRY(st_read_tensor_of(m, key, s, i, signature, false, &s->out[i]));
  bool step = s == &m->step || s == &m->steps, contexts = m->source_count > 0;
  size_t states = m->internal ? 0 : m->pack_count, kept = states - (contexts ? 1 : 0);
  bool good = true;
  if (step || s == &m->fill) {
    good = st_count_role(s->in, s->inputs, ST_INPUT) == m->input_count && st_count_role(s->in, s->inputs, ST_STATE) == states &&
           st_count_role(s->in, s->inputs, ST_VALID) == (step && *m->valid ? 1 : 0) && st_count_role(s->out, s->outputs, ST_STATE) == kept;
    size_t marks = 0;
    for (size_t i = 0; i < m->output_count; i++) marks += *m->outputs[i].mark != 0;
    good = good && (!step || (st_count_role(s->out, s->outputs, ST_OUTPUT) == m->output_count &&
                              st_count_role(s->out, s->outputs, ST_MARK) == marks));
  } else if (s == &m->encode) {
    good = st_count_role(s->in, s->inputs, ST_SOURCE) == m->source_count && st_count_role(s->out, s->outputs, ST_STATE) == 1;
  }
  return good ? STREAMING_OK : st_disagree(key, "one that is missing");
}

static streaming_code st_read_graph(streaming_model *m) {
  const st_json *named = st_get(m->meta, "signatures");
  size_t count = 0;
  if (m->lib.GetNumModelSignatures(m->model, &count) || !named || named->kind != ST_OBJECT || count > ST_MAX_SIGNATURES || count != named->count)
    return st_wrong("signatures");
  for (size_t i = 0; i < count; i++) {
    st_handle signature = NULL;
    const char *key = NULL;
    size_t batch, chunk;
    if (m->lib.GetModelSignature(m->model, i, &signature) || m->lib.GetSignatureKey(signature, &key) || !key) return st_wrong("signatures");
    const st_json *info = st_get(named, key);
    if (!info || !st_whole(info, "batch", 0, 65536, -1, &batch) || !st_whole(info, "chunk", 0, 1 << 20, -1, &chunk))
      return st_wrong("signatures");
    st_signature *s = !strcmp(key, "fill")     ? &m->fill
                      : !strcmp(key, "encode") ? &m->encode
                      : !strcmp(key, "reset")  ? &m->reset
                      : batch != 1             ? NULL
                      : !strcmp(key, "step")   ? &m->step
                      : chunk == m->chunk      ? &m->steps
                                               : NULL;
    if (!s) continue;
    s->chunk = chunk;
    if (s == &m->step && chunk != m->unit) return st_wrong("signature step");
    if (s == &m->fill && (chunk != m->unit || !m->window || m->pad)) return st_wrong("signature fill");
    ST_TRY(st_read_signature(m, key, i, signature, s));
  }
  if (!m->step.there || (m->chunk != m->unit && !m->steps.there) || m->encode.there != (m->source_count > 0)) return st_wrong("signatures");
  return STREAMING_OK;
}

static streaming_code st_check_hashes(streaming_model *m, size_t start) {
  char digest[65];
  st_sha256_hex(m->content, m->size - 64, digest);
  if (memcmp(digest, m->content + m->size - 64, 64))
    return st_fail(STREAMING_FILE, "the file is damaged: it does not match its checksum; copy or convert it again");
  size_t bytes;
  const char *fingerprint = st_text(m->meta, "fingerprint", "");
  if (!st_whole(m->meta, "flatbuffer_bytes", 0, 2147483648.0, -1, &bytes) || bytes > start) return st_wrong("flatbuffer_bytes");
  st_sha256_hex(m->content, bytes, m->fingerprint);
  const st_file *text = st_find_file(m->files, m->file_count, "streaming.json");
  size_t entry = start - bytes, whole = 4 + text->size + (16 - text->size % 16) % 16;
  bool fits = entry == 0 || (entry == whole && st_u32(m->content + bytes) == text->size && !memcmp(m->content + bytes + 4, text->data, text->size));
  if (strcmp(m->fingerprint, fingerprint) || !fits)
    return st_fail(STREAMING_FILE, "the file is damaged: the model does not match its fingerprint; copy or convert it again");
  const st_json *files = st_get(m->meta, "files");
  size_t hashes = files && files->kind == ST_OBJECT ? files->count : 0;
  if (hashes != m->file_count - 1) return st_wrong("files");
  for (size_t i = 0; i < m->file_count; i++) {
    if (&m->files[i] == text) continue;
    st_sha256_hex(m->files[i].data, m->files[i].size, digest);
    if (strcmp(digest, st_text(files, m->files[i].name, "")))
      return st_fail(STREAMING_FILE, "the file is damaged: %.80s does not match its checksum; copy or convert it again", m->files[i].name);
  }
  return STREAMING_OK;
}

static streaming_code st_runtime(const char *what, int code) {
  return st_fail(STREAMING_RUNTIME, "LiteRT could not %s (status %d); take a newer one, or convert the model again", what, code);
}

static streaming_code st_fill_model(streaming_model *m, const char *library) {
  size_t start = 0;
  if (m->size < 8 || memcmp(m->content + 4, "TFL3", 4))
    return st_fail(STREAMING_FILE, "no TFLite file (%zu bytes, no TFL3 mark); give one made by streaming.convert", m->size);
  ST_TRY(st_read_zip(m->content, m->size, m->files, &m->file_count, &start));
  const st_file *text = st_find_file(m->files, m->file_count, "streaming.json");
  if (!text) return st_fail(STREAMING_FILE, "the file has no streaming.json; give one made by streaming.convert");
  m->meta = st_json_parse(text->data, text->size);
  if (!m->meta || m->meta->kind != ST_OBJECT) return st_fail(STREAMING_FILE, "streaming.json is no JSON object; convert the model again");
  ST_TRY(st_check_hashes(m, start));
  ST_TRY(st_read_meta(m));
  ST_TRY(st_load(&m->lib, library));
  int code = m->lib.CreateEnvironment(0, NULL, &m->environment);
  if (code) return st_runtime("start", code);
  code = m->lib.CreateModelFromBuffer(m->environment, m->content, start, &m->model);
  if (code) return st_runtime("read the model", code);
  ST_TRY(st_read_graph(m));
  code = m->lib.CreateOptions(&m->options);
  if (!code) code = m->lib.SetOptionsHardwareAccelerators(m->options, ST_CPU);
  if (!code) code = m->lib.CreateCompiledModel(m->environment, m->model, m->options, &m->compiled);
  return code ? st_runtime("prepare the model", code) : STREAMING_OK;
}

streaming_code streaming_open_memory(const void *data, size_t size, const char *library, streaming_model **model) {
  if (!data || !model) return st_fail(STREAMING_ARGUMENT, "streaming_open_memory was given NULL; give bytes and a place for the model");
  *model = NULL;
  if (size > ST_MAX_FILE) return st_fail(STREAMING_FILE, "%zu bytes are more than a TFLite file can have", size);
  streaming_model *m = st_calloc(1, sizeof *m);
  if (!m || !(m->content = st_zeros(size))) {
    free(m);
    return st_no_memory();
  }
  memcpy(m->content, data, size);
  m->size = size;
  streaming_code code = st_fill_model(m, library);
  if (code == STREAMING_OK)
    *model = m;
  else
    streaming_close(m);
  return code;
}

streaming_code streaming_open(const char *path, const char *library, streaming_model **model) {
  if (!path || !model) return st_fail(STREAMING_ARGUMENT, "streaming_open was given NULL; give a path and a place for the model");
  *model = NULL;
  FILE *file = fopen(path, "rb");
  if (!file) return st_fail(STREAMING_FILE, "cannot read %.200s; give the path of a .tflite made by streaming.convert", path);
  st_buffer content = {0};
  size_t got = 1;
  bool good = true;
  while (good && got) {
    good = st_reserve(&content, 1 << 20);
    got = good ? fread(content.data + content.size, 1, 1 << 20, file) : 0;
    content.size += got;
  }
  good = good && !ferror(file);
  fclose(file);
  streaming_code code = good ? streaming_open_memory(content.data, content.size, library, model)
                             : st_fail(STREAMING_FILE, "cannot read %.200s to its end", path);
  st_drop(&content);
  return code;
}

void streaming_close(streaming_model *m) {
  if (!m) return;
  m->closed = true;
  if (m->streams) return;
  if (m->compiled) m->lib.DestroyCompiledModel(m->compiled);
  if (m->options) m->lib.DestroyOptions(m->options);
  if (m->model) m->lib.DestroyModel(m->model);
  if (m->environment) m->lib.DestroyEnvironment(m->environment);
  st_json_free(m->meta);
  for (size_t i = 0; i < ST_MAX_TENSORS; i++) st_table_free(m->tables[i]);
  for (size_t i = 0; i < m->file_count; i++) {
    free(m->files[i].name);
    free(m->files[i].data);
  }
  free(m->content);
  free(m); /* the library stays loaded: it may not be unloaded safely */
}

size_t streaming_input_count(const streaming_model *m) { return m ? m->input_count : 0; }
size_t streaming_output_count(const streaming_model *m) { return m ? m->output_count : 0; }
size_t streaming_source_count(const streaming_model *m) { return m ? m->source_count : 0; }
const streaming_tensor *streaming_input(const streaming_model *m, size_t i) { return m && i < m->input_count ? &m->inputs[i].info : NULL; }
const streaming_tensor *streaming_output(const streaming_model *m, size_t i) { return m && i < m->output_count ? &m->outputs[i].info : NULL; }
const streaming_tensor *streaming_source(const streaming_model *m, size_t i) { return m && i < m->source_count ? &m->sources[i].info : NULL; }
size_t streaming_source_length(const streaming_model *m) { return m ? m->max_length : 0; }
size_t streaming_chunk(const streaming_model *m) { return m ? m->chunk : 0; }
size_t streaming_delay(const streaming_model *m) { return m ? m->delay : 0; }
size_t streaming_window(const streaming_model *m) { return m ? m->window : 0; }
size_t streaming_hop(const streaming_model *m) { return m ? m->hop : 0; }
const char *streaming_fingerprint(const streaming_model *m) { return m ? m->fingerprint : ""; }
const char *streaming_task(const streaming_model *m) { return m ? st_text(m->task, "kind", "") : ""; }
double streaming_sample_rate(const streaming_model *m) { return m ? st_number(m->task, "sample_rate", 0) : 0; }

streaming_code streaming_file(const streaming_model *m, const char *name, const void **data, size_t *size) {
  if (!m || !name || !data || !size) return st_fail(STREAMING_ARGUMENT, "streaming_file was given NULL");
  const st_file *file = st_find_file(m->files, m->file_count, name);
  if (!file) return st_fail(STREAMING_FILE, "the file holds no %.80s", name);
  *data = file->data;
  *size = file->size;
  return STREAMING_OK;
}

streaming_code streaming_word_ids(streaming_model *m, const char *word, const char *input, int32_t *ids, size_t capacity, size_t *count) {
  if (!m || !word || !input || !ids || !count) return st_fail(STREAMING_ARGUMENT, "streaming_word_ids was given NULL");
  int number = 0;
  while (number < 3 && strcmp(input, st_word_inputs[number])) number++;
  if (number == 3) return st_fail(STREAMING_ARGUMENT, "input is %.40s, expected words, chars or affixes", input);
  st_words *words = st_calloc(1, sizeof *words);
  if (!words) return st_no_memory();
  streaming_code code = st_words_fill(words, m->files, m->file_count);
  size_t needed = number == 0 ? 1 : number == 1 ? words->longest : ST_AFFIXES;
  if (code == STREAMING_OK && capacity < needed) code = st_fail(STREAMING_ARGUMENT, "there is room for %zu ids, expected %zu", capacity, needed);
  if (code == STREAMING_OK) code = st_word_encode(words, word, number, ids, count);
  st_words_free(words);
  return code;
}

streaming_code streaming_text_ids(streaming_model *m, const char *name, const char *text, int32_t *ids, size_t capacity, size_t *count) {
  if (!m || !name || !text || !count || (!ids && capacity)) return st_fail(STREAMING_ARGUMENT, "streaming_text_ids was given NULL");
  st_codec *codec = st_calloc(1, sizeof *codec);
  st_ids found = {0};
  if (!codec) return st_no_memory();
  streaming_code code = st_codec_fill(codec, st_find_file(m->files, m->file_count, name), name);
  if (code == STREAMING_OK) code = st_text_encode(codec, text, &found);
  *count = found.count;
  if (code == STREAMING_OK && found.count > capacity) code = st_fail(STREAMING_ARGUMENT, "there is room for %zu ids, expected %zu", capacity, found.count);
  if (code == STREAMING_OK && found.count) memcpy(ids, found.data, found.count * sizeof *ids);
  free(found.data);
  st_codec_free(codec);
  return code;
}

streaming_code streaming_string_steps(const streaming_model *m, size_t input, const char *const *texts, size_t count, void *steps, size_t capacity,
                                      size_t *length) {
  if (!m || !length || (!texts && count) || (!steps && capacity)) return st_fail(STREAMING_ARGUMENT, "streaming_string_steps was given NULL");
  *length = 0;
  if (input >= m->input_count || !m->tables[input]) return st_fail(STREAMING_ARGUMENT, "input %zu takes no strings; give its values", input);
  const streaming_tensor *info = &m->inputs[input].info;
  st_ids ids = {0};
  streaming_code code = st_strings_encode(m->tables[input], info->name, texts, count, &ids);
  if (code == STREAMING_OK && ids.count % info->elements)
    code = st_fail(STREAMING_INPUT, "input %.80s has %zu strings, expected %zu a step", info->name, ids.count, info->elements);
  *length = ids.count / info->elements;
  if (code == STREAMING_OK && steps && *length > capacity) code = st_fail(STREAMING_ARGUMENT, "there is room for %zu steps, expected %zu", capacity, *length);
  for (size_t i = 0; code == STREAMING_OK && steps && i < ids.count; i++) {
    if (info->type == STREAMING_INT64)
      ((int64_t *)steps)[i] = ids.data[i];
    else
      ((int32_t *)steps)[i] = ids.data[i];
  }
  free(ids.data);
  return code;
}
