/* Sessions: raw input to events. */

/* Whether a tensor holds real numbers: as float32, or as integers that have a scale. */
static bool st_is_real(const streaming_tensor *info) {
  bool whole = info->type == STREAMING_INT8 || info->type == STREAMING_UINT8 || info->type == STREAMING_INT16;
  return info->type == STREAMING_FLOAT32 || (whole && info->scale > 0);
}

static void st_quantize(const streaming_tensor *info, const float *numbers, void *integers) {
  float low = info->type == STREAMING_INT8 ? -128 : info->type == STREAMING_INT16 ? -32768 : 0;
  float high = info->type == STREAMING_INT8 ? 127 : info->type == STREAMING_INT16 ? 32767 : 255;
  for (size_t i = 0; i < info->elements; i++) {
    float value = rintf(numbers[i] / (float)info->scale) + (float)info->zero_point;
    value = value < low ? low : value > high ? high : value;
    if (info->type == STREAMING_INT8)
      ((int8_t *)integers)[i] = (int8_t)value;
    else if (info->type == STREAMING_INT16)
      ((int16_t *)integers)[i] = (int16_t)value;
    else
      ((uint8_t *)integers)[i] = (uint8_t)value;
  }
}

/* A row of the first output as float32. */
static const float *st_real_row(streaming_session *s, const void *row) {
  const streaming_tensor *info = &s->model->outputs[0].info;
  if (info->type == STREAMING_FLOAT32) return row;
  for (size_t i = 0; i < info->elements; i++) s->real[i] = (float)info->scale * ((float)st_integer(info->type, row, i) - (float)info->zero_point);
  return s->real;
}

static void st_take_row(void *user, size_t output, const void *rows, size_t count) {
  streaming_session *s = user;
  for (size_t i = 0; output == 0 && i < count && s->failed == STREAMING_OK; i++) {
    const float *row = st_real_row(s, (const unsigned char *)rows + i * s->model->outputs[0].info.bytes);
    double time = 0, score;
    s->last_row = row;
    if (s->task == ST_KEYWORDS || s->task == ST_TRANSCRIBER) {
      size_t seen = st_last_step(s, s->row++) * s->step + s->length;
      time = (double)s->begin / s->rate + ((double)seen - (double)s->lead) / s->rate;
    }
    switch (s->task) {
      case ST_TAGGER:
      case ST_SEQUENCE_TAGGER:
        st_label(s, row);
        break;
      case ST_CLASSIFIER:
        st_predict(s, row);
        break;
      case ST_FORECASTER:
        st_tell_forecast(s, row);
        break;
      case ST_ANOMALIES:
        s->score = st_error_of(s, s->values, &score);
        s->refractory = score; /* told by the caller, which knows whether the row is on probation */
        for (size_t t = 0; t < s->targets; t++) s->expected[t] = st_forecast(s, row, 0, t, s->middle);
        s->has_expected = true;
        break;
      case ST_KEYWORDS:
        st_keyword(s, row, time);
        break;
      case ST_TRANSCRIBER:
        st_transcribe(s, row, time);
        break;
      case ST_SKETCHER:
        for (size_t k = 0; k < s->model->outputs[0].info.elements; k++) s->p[k] = row[k];
        s->drawn = true;
        break;
      default:
        break;
    }
  }
}

void streaming_session_free(streaming_session *s) {
  if (!s) return;
  streaming_free(s->stream);
  for (size_t i = 0; s->pool && i < 2 * s->beam_width; i++) streaming_free(s->pool[i]);
  free(s->pool);
  st_lines_free(&s->labels);
  st_words_free(s->words);
  st_chain_free(s->chain);
  st_mel_free(s->mel);
  st_ctc_free(s->ctc);
  st_codec_free(s->source);
  st_codec_free(s->target);
  st_drop(&s->text);
  st_drop(&s->gaps);
  for (size_t i = 0; i < s->waiting_count; i++) free(s->waiting[i]);
  for (int i = 0; i < 3; i++) free(s->ids[i]);
  void *all[] = {s->p, s->mean, (void *)s->held_labels, s->waiting, s->places, s->scaler_mean, s->scaler_scale, s->values, s->expected,
                 s->errors, s->early, s->widths, s->bounds, s->last, s->last_at, s->input, s->real, s->integers, s->recent, s->frame, s->frames, s->wanted, s->told, s->rising, s->absent};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  free(s);
}

static streaming_code st_unfit(const char *what) {
  return st_fail(STREAMING_FILE, "the task and the model do not fit: %s; export the model anew", what);
}

static void *st_array(size_t count, size_t size) { return st_calloc(count ? count : 1, size); }

static streaming_code st_open_labels(streaming_session *s) {
  streaming_model *m = s->model;
  ST_TRY(st_lines_read(&s->labels, st_find_file(m->files, m->file_count, "labels.txt"), "labels.txt"));
  s->label_count = s->labels.count;
  if (!s->label_count || m->outputs[0].info.rank != 1 || m->outputs[0].info.shape[0] != s->label_count ||
      !st_is_real(&m->outputs[0].info))
    return st_unfit("labels.txt has another number of labels");
  s->p = st_array(s->label_count, sizeof(double));
  s->mean = st_array(s->label_count, sizeof(double));
  s->held_labels = st_array(s->label_count, sizeof(char *));
  return s->p && s->mean && s->held_labels ? STREAMING_OK : st_no_memory();
}

static streaming_code st_open_chain(streaming_session *s) {
  const st_file *file = st_find_file(s->model->files, s->model->file_count, "transitions.json");
  if (!file) return STREAMING_OK;
  s->chain = st_calloc(1, sizeof *s->chain);
  return s->chain ? st_chain_fill(s->chain, file, s->label_count, s->model->task) : st_no_memory();
}

static streaming_code st_open_words(streaming_session *s) {
  streaming_model *m = s->model;
  s->words = st_calloc(1, sizeof *s->words);
  if (!s->words) return st_no_memory();
  ST_TRY(st_words_fill(s->words, m->files, m->file_count));
  size_t used = 0;
  for (int i = 0; i < 3; i++) {
    size_t size = i == 0 ? 1 : i == 1 ? s->words->longest : ST_AFFIXES;
    s->ids[i] = st_array(size, sizeof(int32_t));
    if (!s->ids[i]) return st_no_memory();
    used += s->words->used[i];
  }
  if (used != m->input_count) return st_unfit("it takes other inputs than words, chars and affixes");
  for (size_t k = 0; k < m->input_count; k++) {
    int i = 0;
    while (i < 3 && strcmp(m->inputs[k].name, st_word_inputs[i])) i++;
    if (i == 3) i = used == 1 && s->words->used[0] ? 0 : used == 1 && s->words->used[1] ? 1 : 2; /* alone, it may have any name */
    size_t size = i == 0 ? 1 : i == 1 ? s->words->longest : ST_AFFIXES;
    if ((used > 1 && strcmp(m->inputs[k].name, st_word_inputs[i])) || !s->words->used[i] || m->inputs[k].info.type != STREAMING_INT32 ||
        m->inputs[k].info.elements != size || !m->inputs[k].info.time)
      return st_unfit("it takes other inputs than words, chars and affixes");
  }
  return STREAMING_OK;
}

static bool st_numbers(const st_json *list, size_t count, double *out) {
  if (!list || list->count != count) return false;
  for (const st_json *item = list->first; item; item = item->next) {
    if (item->kind != ST_NUMBER) return false;
    *out++ = item->number;
  }
  return true;
}

static streaming_code st_open_rows(streaming_session *s) {
  streaming_model *m = s->model;
  const st_json *scaler = st_get(m->task, "scaler"), *columns = st_list(m->task, "columns");
  s->rows = true;
  s->width = m->inputs[0].info.elements;
  s->columns = columns ? columns->count : 0;
  s->scaled = scaler != NULL;
  static const char *const policies[] = {"refuse", "drop", "hold", "interpolate"};
  const char *missing = st_text(m->task, "missing", "refuse");
  int policy = 0;
  while (policy < 4 && strcmp(missing, policies[policy])) policy++;
  s->masked = st_flag(m->task, "mask", false);
  if (policy == 4 || (s->masked && s->width % 2)) return st_unfit("missing or mask are wrong");
  s->missing = policy;
  if (m->input_count != 1 || !st_is_real(&m->inputs[0].info) || !m->inputs[0].info.time || !s->width ||
      (s->columns && s->columns != s->width / (s->masked ? 2 : 1)))
    return st_unfit("it takes other rows");
  s->scaler_mean = st_array(s->width, sizeof(double));
  s->scaler_scale = st_array(s->width, sizeof(double));
  s->input = st_array(s->width, sizeof(float));
  s->last = st_array(s->width, sizeof(double));
  s->last_at = st_array(s->width, sizeof(double));
  if (!s->scaler_mean || !s->scaler_scale || !s->input || !s->last || !s->last_at) return st_no_memory();
  if (scaler && (!st_numbers(st_list(scaler, "mean"), s->width, s->scaler_mean) || !st_numbers(st_list(scaler, "scale"), s->width, s->scaler_scale)))
    return st_unfit("it scales other columns");
  for (size_t i = 0; scaler && i < s->width; i++)
    if (s->scaler_scale[i] == 0) return st_unfit("a scale is 0");
  return STREAMING_OK;
}

static streaming_code st_open_forecasts(streaming_session *s) {
  streaming_model *m = s->model;
  const st_json *columns = st_list(m->task, "columns"), *targets = st_list(m->task, "targets"), *quantiles = st_list(m->task, "quantiles");
  if (targets && !targets->count) targets = NULL;
  if (!columns || columns->count != s->width / (s->masked ? 2 : 1) || !st_whole(m->task, "horizon", 1, 65536, 1, &s->horizon)) return st_unfit("columns or horizon are wrong");
  s->targets = targets ? targets->count : columns->count;
  s->quantiles = quantiles && quantiles->count ? quantiles->count : 1;
  size_t total;
  if (s->targets > s->width || !st_times(s->horizon, s->targets, &total) || !st_times(total, s->quantiles, &total) ||
      total != m->outputs[0].info.elements || !st_is_real(&m->outputs[0].info) || m->output_count != 1)
    return st_unfit("it gives other forecasts");
  s->places = st_array(s->targets, sizeof(size_t));
  s->values = st_array(total > s->width ? total : s->width, sizeof(double));
  s->expected = st_array(s->targets, sizeof(double));
  if (!s->places || !s->values || !s->expected) return st_no_memory();
  size_t t = 0;
  for (const st_json *target = targets ? targets->first : columns->first; target; target = target->next, t++) {
    size_t place = 0;
    const st_json *column = columns->first;
    while (column && (column->kind != ST_STRING || target->kind != ST_STRING || strcmp(column->text, target->text))) column = column->next, place++;
    if (!column) return st_unfit("a target is no column");
    s->places[t] = place;
  }
  double nearest = 2;
  size_t q = 0;
  for (const st_json *item = quantiles ? quantiles->first : NULL; item; item = item->next, q++)
    if (fabs(item->number - 0.5) < nearest) nearest = fabs(item->number - 0.5), s->middle = q;
  return STREAMING_OK;
}

/* Intervals whose widths follow the errors, where the task has them. */
static streaming_code st_open_intervals(streaming_session *s) {
  const streaming_model *m = s->model;
  const st_json *spec = st_get(m->task, "intervals"), *quantiles = st_list(m->task, "quantiles");
  if (!spec) return STREAMING_OK;
  s->coverage = st_number(spec, "coverage", -1);
  s->width_rate = st_number(spec, "rate", -1);
  bool right = s->coverage > 0 && s->coverage < 1 && s->width_rate > 0 && s->width_rate <= 1;
  if (!right || !quantiles || s->middle == 0 || s->middle + 1 >= s->quantiles) return st_unfit("its intervals are wrong");
  if ((!m->window && m->delay) || m->unit != 1 || s->up != 1 || s->down != 1) return st_unfit("its intervals need a forecast after each row");
  if (s->horizon > 2048 || s->horizon * s->horizon * s->targets > 1 << 22) return st_unfit("its intervals are too many");
  s->widths = st_array(s->horizon * s->targets, sizeof(double));
  s->bounds = st_array(s->horizon * s->horizon * s->targets * 2, sizeof(double));
  return s->widths && s->bounds ? STREAMING_OK : st_no_memory();
}

static streaming_code st_open_anomalies(streaming_session *s) {
  const st_json *task = s->model->task;
  ST_TRY(st_open_forecasts(s));
  if (!st_whole(task, "short_window", 1, 1 << 20, 10, &s->short_window) || !st_whole(task, "long_window", (double)s->short_window + 1, 1 << 20, 1000, &s->long_window) ||
      !st_whole(task, "warm_up", 2, 1 << 24, 100, &s->warm_up) || !st_whole(task, "probation", 0, 1 << 20, 0, &s->probation) ||
      (s->probation && s->scaled) || s->up != 1 || s->down != 1 || s->model->delay)
    return st_unfit("its windows are wrong, or its forecasts come late");
  size_t early;
  if (!st_times(s->probation, s->width, &early)) return st_unfit("probation is too long");
  s->threshold = st_number(task, "threshold", 0.9999);
  s->errors = st_array(s->long_window, sizeof(double));
  s->early = st_array(early, sizeof(double));
  return s->errors && s->early ? STREAMING_OK : st_no_memory();
}

static streaming_code st_open_sketcher(streaming_session *s) {
  const streaming_model *m = s->model;
  size_t size = m->outputs[0].info.elements;
  ST_TRY(st_open_rows(s));
  if (s->width != 3 || s->masked || s->missing != ST_REFUSE || m->output_count != 1 || !st_is_real(&m->outputs[0].info) || size <= ST_PENS || (size - ST_PENS) % ST_PARAMETERS ||
      m->delay || m->window || m->unit != 1 || s->up != 1 || s->down != 1)
    return st_unfit("it does not take dx, dy and lift and give a density after each row");
  s->components = (size - ST_PENS) / ST_PARAMETERS;
  for (size_t i = 0; !s->scaled && i < s->width; i++) s->scaler_scale[i] = 1;
  s->floor = st_number(m->task, "floor", 0.01);
  s->temperature = st_number(m->task, "temperature", 1);
  if (!(s->floor >= 0) || !(s->temperature >= 0 && s->temperature < INFINITY) || !st_whole(m->task, "max_length", 1, 1 << 24, 200, &s->limit)) return st_wrong("task.floor, temperature or max_length");
  s->p = st_array(size, sizeof(double));
  return s->p ? STREAMING_OK : st_no_memory();
}

static streaming_code st_open_sound(streaming_session *s) {
  streaming_model *m = s->model;
  const st_json *features = st_get(m->task, "features");
  size_t rate;
  ST_TRY(st_open_labels(s));
  if (!st_whole(m->task, "sample_rate", 100, 1e6, -1, &rate)) return st_wrong("task.sample_rate");
  s->rate = (double)rate;
  s->width = m->inputs[0].info.elements;
  if (m->input_count != 1 || !st_is_real(&m->inputs[0].info) || !m->inputs[0].info.time || !s->width) return st_unfit("it takes other rows");
  s->step = s->length = s->width;
  if (features) {
    s->mel = st_calloc(1, sizeof *s->mel);
    if (!s->mel) return st_no_memory();
    ST_TRY(st_mel_fill(s->mel, features));
    if (s->mel->bands != s->width) return st_unfit("it takes other features");
    s->step = s->mel->step;
    s->length = s->mel->length;
    s->frame = st_array(s->mel->fft, sizeof(double));
    if (!s->frame) return st_no_memory();
  }
  s->input = st_array(s->width, sizeof(float));
  if (!s->input) return st_no_memory();
  double lead = st_number(m->task, "lead", 0);
  if (!(lead >= 0 && lead <= 60)) return st_wrong("task.lead");
  s->lead = (size_t)rint(lead * s->rate / (double)s->step) * s->step;
  s->zeros = s->lead;
  if (!features && (!st_whole(m->task, "frame_length", 1, 1e9, (double)s->length, &s->length) || !st_whole(m->task, "zeros", 0, 1e9, (double)s->lead, &s->zeros)))
    return st_wrong("task.frame_length or zeros");
  ST_TRY(st_endpointer_fill(&s->endpointer, m->task, s->rate));
  if (s->task == ST_TRANSCRIBER) {
    s->joiner = st_text(m->task, "joiner", " ");
    if (!st_whole(m->task, "blank", 0, (double)s->label_count - 1, 0, &s->blank) || !st_whole(m->task, "width", 1, 1024, 1, &s->beam)) return st_wrong("task.blank or width");
    if (s->beam > 1 && !(s->ctc = st_calloc(1, sizeof *s->ctc))) return st_no_memory();
    return STREAMING_OK;
  }
  s->multi = st_flag(m->task, "multi_label", false);
  s->threshold = st_number(m->task, "threshold", 0.5);
  s->refractory = st_number(m->task, "refractory", 1.0);
  s->smoothing = st_number(m->task, "smoothing", 0);
  double window = rint(s->smoothing / ((double)s->step * (double)s->down / (double)s->up / s->rate));
  if (!(s->smoothing >= 0 && s->smoothing <= 60 && s->refractory >= 0 && s->refractory <= 86400)) return st_wrong("task.smoothing");
  s->window = window < 1 ? 1 : (size_t)window;
  s->recent = st_array(s->window * s->label_count, sizeof(double));
  s->wanted = st_array(s->label_count, sizeof(bool));
  s->told = st_array(s->label_count, sizeof(bool));
  s->rising = st_array(s->label_count, sizeof(bool));
  s->absent = st_array(s->label_count, sizeof(size_t));
  double rest = rint(s->refractory / ((double)s->step * (double)s->down / (double)s->up / s->rate));
  s->rest = rest < 1 ? 1 : (size_t)rest;
  if (!s->recent || !s->wanted || !s->told || !s->rising || !s->absent) return st_no_memory();
  for (size_t i = 0; i < s->label_count; i++) {
    s->wanted[i] = true;
    const st_json *background = st_list(m->task, "background");
    for (const st_json *item = background ? background->first : NULL; item; item = item->next)
      if (item->kind == ST_STRING && !strcmp(item->text, s->labels.items[i])) s->wanted[i] = false;
  }
  return STREAMING_OK;
}

static streaming_code st_open_codec(streaming_session *s, const char *name, st_codec **codec) {
  *codec = st_calloc(1, sizeof **codec);
  return *codec ? st_codec_fill(*codec, st_find_file(s->model->files, s->model->file_count, name), name) : st_no_memory();
}

static bool st_is_token(const streaming_tensor *info) {
  return info->rank == 0 && (info->type == STREAMING_INT32 || info->type == STREAMING_INT64) && info->time;
}

static streaming_code st_open_texts(streaming_session *s) {
  streaming_model *m = s->model;
  const st_json *task = m->task;
  ST_TRY(st_open_codec(s, "target.json", &s->target));
  if (m->output_count != 1 || m->outputs[0].info.rank != 1 || m->outputs[0].info.shape[0] != s->target->count || !st_is_real(&m->outputs[0].info) ||
      m->chunk != 1 || m->delay || !st_is_token(&m->inputs[0].info))
    return st_unfit("it does not take a number a step and give a row of logits");
  s->p = st_array(s->target->count, sizeof(double));
  if (!s->p) return st_no_memory();
  if (!st_whole(task, "max_length", 1, 65536, s->task == ST_GENERATOR ? 500 : 100, &s->limit) || !st_whole(task, "width", 1, 256, 5, &s->beam_width)) return st_wrong("task.max_length or width");
  s->penalty = st_number(task, "length_penalty", 1);
  s->start = st_flag(task, "start", true);
  if (s->task == ST_GENERATOR) return m->input_count == 1 && !m->source_count ? STREAMING_OK : st_unfit("it takes more than a prompt");
  s->source_end = st_flag(task, "source_end", true);
  s->reverse = st_flag(task, "reverse_source", false);
  s->array_scale = st_number(task, "scale", 1);
  s->array_offset = st_number(task, "offset", 0);
  if (s->task != ST_CAPTIONER) ST_TRY(st_open_codec(s, "source.json", &s->source));
  if (s->task == ST_IN_TURNS) {
    bool both = m->input_count == 2 && st_is_token(&m->inputs[1].info) && ((!strcmp(m->inputs[0].name, "source") && !strcmp(m->inputs[1].name, "target")) ||
                                                                          (!strcmp(m->inputs[0].name, "target") && !strcmp(m->inputs[1].name, "source")));
    return both && st_whole(task, "wait_k", 1, 1024, -1, &s->wait_k) ? STREAMING_OK : st_unfit("it does not take source and target in turns");
  }
  const streaming_tensor *source = &m->sources[0].info;
  if (m->source_count != 1 || m->input_count != 1 || m->internal) return st_unfit("it is not given one whole input first");
  if (s->task == ST_CAPTIONER ? source->time || source->type != STREAMING_FLOAT32 : !st_is_token(source)) return st_unfit("its source is of another kind");
  s->pool = st_array(2 * s->beam_width, sizeof *s->pool);
  if (!s->pool) return st_no_memory();
  for (size_t i = 0; i < 2 * s->beam_width; i++) ST_TRY(streaming_create(m, &s->pool[i]));
  if (s->task == ST_CAPTIONER && !(s->input = st_array(source->elements, sizeof(float)))) return st_no_memory();
  return STREAMING_OK;
}

static streaming_code st_open_session(streaming_session *s) {
  streaming_model *m = s->model;
  static const char *const kinds[] = {"tagger", "classifier", "sequence_tagger", "keyword_spotter", "transcriber", "translator", "", "captioner", "generator", "forecaster", "anomaly_detector", "sketcher"};
  const char *kind = streaming_task(m);
  const int count = sizeof kinds / sizeof *kinds;
  int task = 0;
  while (task < count && (!*kinds[task] || strcmp(kind, kinds[task]))) task++;
  if (task == count) return st_fail(STREAMING_TASK, "the task is %.40s, which this client does not have; use a stream", *kind ? kind : "none");
  s->task = task == ST_TRANSLATOR && !m->source_count ? ST_IN_TURNS : (st_task)task;
  s->up = m->outputs[0].info.up;
  s->down = m->outputs[0].info.down;
  s->threshold = st_number(m->task, "threshold", 0.5);
  s->multi = st_flag(m->task, "multi_label", false);
  s->real = st_array(m->outputs[0].info.elements, sizeof(float));
  s->integers = st_array(m->inputs[0].info.elements, sizeof(int32_t));
  if (!s->real || !s->integers) return st_no_memory();
  switch (s->task) {
    case ST_TAGGER:
      ST_TRY(st_open_labels(s));
      ST_TRY(st_open_words(s));
      ST_TRY(st_open_chain(s));
      break;
    case ST_CLASSIFIER:
      ST_TRY(st_open_labels(s));
      ST_TRY(!strcmp(st_text(m->task, "input", "words"), "rows") ? st_open_rows(s) : st_open_words(s));
      break;
    case ST_SEQUENCE_TAGGER:
      ST_TRY(st_open_labels(s));
      ST_TRY(st_open_rows(s));
      ST_TRY(st_open_chain(s));
      s->rate = st_number(m->task, "sample_rate", 0);
      break;
    case ST_FORECASTER:
      ST_TRY(st_open_rows(s));
      ST_TRY(st_open_forecasts(s));
      ST_TRY(st_open_intervals(s));
      break;
    case ST_ANOMALIES:
      ST_TRY(st_open_rows(s));
      ST_TRY(st_open_anomalies(s));
      break;
    case ST_SKETCHER:
      ST_TRY(st_open_sketcher(s));
      break;
    case ST_KEYWORDS:
    case ST_TRANSCRIBER:
      ST_TRY(st_open_sound(s));
      break;
    default:
      ST_TRY(st_open_texts(s));
  }
  return streaming_create(m, &s->stream);
}

static streaming_code st_anew(streaming_session *s) {
  s->row = 0;
  s->fed = s->drawn = false;
  s->recent_count = s->recent_next = 0;
  s->pending = s->tokens = 0;
  s->last_token = (int32_t)s->blank;
  s->text.size = 0;
  s->has_expected = false;
  for (size_t i = 0; s->last && i < s->width; i++) s->last[i] = NAN, s->last_at[i] = -1;
  s->gaps.size = s->passed = 0;
  s->error_count = s->early_count = s->scored = 0;
  for (size_t i = 0; s->bounds && i < s->horizon * s->targets; i++) s->widths[i] = 0;
  for (size_t i = 0; s->bounds && i < s->horizon * s->horizon * s->targets * 2; i++) s->bounds[i] = NAN;
  if (s->task == ST_KEYWORDS || s->task == ST_TRANSCRIBER) s->score = 0;
  for (size_t i = 0; s->absent && i < s->label_count; i++) {
    s->absent[i] = s->rest;
    s->told[i] = false;
  }
  for (size_t i = 0; i < s->waiting_count; i++) free(s->waiting[i]);
  s->waiting_count = 0;
  if (s->chain) s->chain->begun = false, s->chain->rows = 0;
  if (s->mel) st_mel_reset(s->mel);
  if (s->ctc && !st_ctc_reset(s->ctc, s->beam, s->label_count)) return st_no_memory();
  return streaming_reset(s->stream);
}

streaming_code streaming_session_open(streaming_model *m, streaming_listener listener, void *user, streaming_session **session) {
  if (!m || !listener || !session) return st_fail(STREAMING_ARGUMENT, "streaming_session_open was given NULL; give a model, a listener and a place");
  *session = NULL;
  streaming_session *s = st_calloc(1, sizeof *s);
  if (!s) return st_no_memory();
  s->model = m;
  s->listener = listener;
  s->user = user;
  streaming_code code = st_open_session(s);
  if (code == STREAMING_OK) code = st_anew(s);
  if (code == STREAMING_OK)
    *session = s;
  else
    streaming_session_free(s);
  return code;
}

static streaming_code st_feed_session(streaming_session *s, const void *const *inputs) {
  s->failed = STREAMING_OK;
  streaming_code code = streaming_feed(s->stream, inputs, 1, st_take_row, s);
  s->fed = s->fed || code == STREAMING_OK;
  return code != STREAMING_OK ? code : s->failed;
}

static streaming_code st_takes(const streaming_session *s, bool right, const char *what) {
  if (!s) return st_fail(STREAMING_ARGUMENT, "the session is NULL; open one");
  return right ? STREAMING_OK : st_fail(STREAMING_STATE, "a %s does not take %s", streaming_task(s->model), what);
}

streaming_code streaming_session_word(streaming_session *s, const char *word) {
  ST_TRY(st_takes(s, s && s->words, "words"));
  if (!word) return st_fail(STREAMING_ARGUMENT, "the word is NULL; give a text");
  const void *inputs[ST_MAX_TENSORS];
  for (size_t k = 0; k < s->model->input_count; k++) {
    int i = 0;
    while (i < 3 && (!s->words->used[i] || (s->model->input_count > 1 && strcmp(s->model->inputs[k].name, st_word_inputs[i])))) i++;
    size_t count;
    ST_TRY(st_word_encode(s->words, word, i, s->ids[i], &count));
    inputs[k] = s->ids[i];
  }
  if (s->waiting_count == s->waiting_size) {
    size_t size = s->waiting_size ? 2 * s->waiting_size : 16;
    char **waiting = st_realloc(s->waiting, size * sizeof *waiting);
    if (!waiting) return st_no_memory();
    s->waiting = waiting;
    s->waiting_size = size;
  }
  char *copy = strdup(word);
  if (!copy) return st_no_memory();
  s->waiting[s->waiting_count++] = copy;
  return st_feed_session(s, inputs);
}

/* One step of the numbers in s->input. */
static streaming_code st_feed_numbers(streaming_session *s) {
  const streaming_tensor *info = &s->model->inputs[0].info;
  const void *inputs[] = {info->type == STREAMING_FLOAT32 ? (const void *)s->input : s->integers};
  for (size_t i = 0; info->type != STREAMING_FLOAT32 && i < info->elements; i++)
    if (!isfinite(s->input[i]))
      return st_fail(STREAMING_INPUT, "input %.80s holds %g at %zu, expected finite numbers; clean it", info->name, (double)s->input[i], i);
  if (info->type != STREAMING_FLOAT32) st_quantize(info, s->input, s->integers);
  return st_feed_session(s, inputs);
}

static streaming_code st_feed_row(streaming_session *s, const double *row) {
  for (size_t i = 0; i < s->width; i++) s->input[i] = (float)row[i];
  return st_feed_numbers(s);
}

static streaming_code st_judge(streaming_session *s, const double *row, bool quiet) {
  memcpy(s->values, row, s->width * sizeof *row);
  ST_TRY(st_feed_row(s, row));
  if (!quiet) st_tell_anomaly(s, s->score, s->refractory);
  return STREAMING_OK;
}

/* The rows of the probation say what the units of their series are. */
static streaming_code st_end_probation(streaming_session *s, double *row) {
  for (size_t c = 0; c < s->width; c++) {
    double mean = 0, spread = 0;
    for (size_t i = 0; i < s->probation; i++) mean += s->early[i * s->width + c];
    mean /= (double)s->probation;
    for (size_t i = 0; i < s->probation; i++) spread += pow(s->early[i * s->width + c] - mean, 2);
    spread = sqrt(spread / (double)s->probation);
    s->scaler_mean[c] = mean;
    s->scaler_scale[c] = spread > 0 ? spread : 1;
  }
  for (size_t i = 0; i < s->probation; i++) {
    for (size_t c = 0; c < s->width; c++) row[c] = (s->early[i * s->width + c] - s->scaler_mean[c]) / s->scaler_scale[c];
    ST_TRY(st_judge(s, row, true));
  }
  return STREAMING_OK;
}

/* A row without a gap, masks included; `came` are its values with NaN where they were missing, NULL where masks say it. */
static streaming_code st_whole_row(streaming_session *s, const double *row, const double *came) {
  double *values = st_malloc(s->width * sizeof *values);
  if (!values) return st_no_memory();
  streaming_code code = STREAMING_OK;
  if (s->bounds) st_score(s, row, came);
  if (s->task == ST_ANOMALIES && s->early_count < s->probation) {
    memcpy(s->early + s->early_count++ * s->width, row, s->width * sizeof *row);
    if (s->early_count == s->probation) code = st_end_probation(s, values);
    if (code == STREAMING_OK) st_tell_anomaly(s, 0, 0);
  } else {
    bool scales = s->scaled || s->probation;
    for (size_t i = 0; i < s->width; i++) values[i] = scales ? (row[i] - s->scaler_mean[i]) / s->scaler_scale[i] : row[i];
    code = s->task == ST_ANOMALIES ? st_judge(s, values, false) : st_feed_row(s, values);
  }
  free(values);
  return code;
}

/* A value of a row that waits: on the line between the values before and after, or the last one; NaN before the first. */
static double st_on_line(const streaming_session *s, const double *rows, size_t count, size_t columns, size_t row, size_t column) {
  double here = rows[row * columns + column], x0 = s->last_at[column], y0 = s->last[column];
  if (!isnan(here)) return here;
  for (size_t i = row; i > 0 && isnan(here); i--) here = rows[(i - 1) * columns + column], x0 = (double)(s->passed + i - 1);
  if (!isnan(here))
    y0 = here;
  else
    x0 = s->last_at[column];
  if (isnan(y0)) return y0;
  for (size_t i = row + 1; i < count; i++) {
    double after = rows[i * columns + column];
    if (!isnan(after)) return y0 + (after - y0) / ((double)(s->passed + i) - x0) * ((double)(s->passed + row) - x0);
  }
  return y0;
}

/* Takes the rows on that each column has had a value at or after; all of them at the end. */
static streaming_code st_interpolate(streaming_session *s, bool ended) {
  size_t columns = s->masked ? s->width / 2 : s->width, count = s->gaps.size / (columns * sizeof(double)), end = count;
  const double *rows = (const double *)s->gaps.data;
  for (size_t c = 0; !ended && c < columns; c++) {
    size_t known = count;
    while (known && isnan(rows[(known - 1) * columns + c])) known--;
    if (known < end) end = known;
  }
  if (count - end > ST_MAX_WAITING) return st_fail(STREAMING_INPUT, "a column has had no value for %zu rows; hold values, or mend it", count - end);
  double *whole = st_calloc(s->width, sizeof *whole);
  streaming_code code = whole ? STREAMING_OK : st_no_memory();
  for (size_t r = 0; code == STREAMING_OK && r < end; r++) {
    bool gap = false;
    for (size_t c = 0; c < columns; c++) {
      whole[c] = st_on_line(s, rows, count, columns, r, c);
      if (s->masked) whole[columns + c] = isnan(rows[r * columns + c]);
      gap = gap || isnan(whole[c]);
    }
    if (!gap) code = st_whole_row(s, whole, rows + r * columns);
  }
  free(whole);
  for (size_t c = 0; c < columns; c++)
    for (size_t r = end; r > 0; r--)
      if (!isnan(rows[(r - 1) * columns + c])) {
        s->last[c] = rows[(r - 1) * columns + c];
        s->last_at[c] = (double)(s->passed + r - 1);
        break;
      }
  s->passed += end;
  s->gaps.size -= end * columns * sizeof(double);
  if (end) memmove(s->gaps.data, s->gaps.data + end * columns * sizeof(double), s->gaps.size);
  return code;
}

/* A row of a drawing, behind the one that says that the pen is up. */
static streaming_code st_sketch_row(streaming_session *s, const double *row) {
  static const double beginning[] = {0, 0, 1};
  double scaled[3];
  if (row[2] != 0 && row[2] != 1)
    return st_fail(STREAMING_INPUT, "lift is %g in row %zu, expected 1 after the last point of a stroke, else 0", row[2], s->row + 1);
  bool first = !s->drawn, says_it = first && row[0] == 0 && row[1] == 0 && row[2] == 1;
  for (int which = first ? 0 : 1; which < (says_it ? 1 : 2); which++) {
    for (size_t i = 0; i < 3; i++) scaled[i] = ((which ? row : beginning)[i] - s->scaler_mean[i]) / s->scaler_scale[i];
    ST_TRY(st_feed_row(s, scaled));
    if (!s->drawn) return st_unfit("it gives no density after a row");
    s->row += (size_t)which;
  }
  return STREAMING_OK;
}

/* The points after a beginning. */
static streaming_code st_sketch(streaming_session *s) {
  for (size_t i = 0; i < s->limit; i++) {
    st_movement found = st_draw_movement(s->p, s->components, s->floor, s->temperature, &s->random);
    double row[] = {found.dx * s->scaler_scale[0], found.dy * s->scaler_scale[1], found.pen > 0};
    streaming_event event = {.event = "point", .row = s->row, .dx = row[0], .dy = row[1], .lift = found.pen > 0, .ends = found.pen == 2, .score = found.score};
    st_tell(s, &event);
    if (found.pen == 2) break;
    if (i + 1 < s->limit) ST_TRY(st_sketch_row(s, row));
  }
  return STREAMING_OK;
}

streaming_code streaming_session_drawing(streaming_session *s, double temperature, size_t limit, uint32_t seed) {
  ST_TRY(st_takes(s, s && s->task == ST_SKETCHER, "temperature, limit and seed of a drawing"));
  if (isnan(temperature)) temperature = st_number(s->model->task, "temperature", 1);
  if (!(temperature >= 0 && temperature < INFINITY)) return st_fail(STREAMING_INPUT, "temperature is %g, expected 0 or more", temperature);
  s->temperature = temperature;
  if (limit)
    s->limit = limit;
  else
    ST_TRY(st_whole(s->model->task, "max_length", 1, 1 << 24, 200, &s->limit) ? STREAMING_OK : st_wrong("task.max_length"));
  s->random = seed;
  return STREAMING_OK;
}

streaming_code streaming_session_row(streaming_session *s, const double *row, size_t count) {
  ST_TRY(st_takes(s, s && s->rows, "rows"));
  if (!row) return st_fail(STREAMING_ARGUMENT, "the row is NULL; give its numbers");
  size_t columns = s->masked && count != s->width ? s->width / 2 : s->width;
  if (count != columns) return st_fail(STREAMING_INPUT, "a row has %zu numbers, expected %zu", count, columns);
  bool masks = s->masked && count == s->width, fills = s->missing != ST_REFUSE && !masks, gap = false;
  for (size_t i = 0; i < count; i++)
    if (!isfinite(row[i]) && !(isnan(row[i]) && fills))
      return st_fail(STREAMING_INPUT, "a row holds %g at %zu, expected finite numbers; clean or fill it", row[i], i);
  if (s->task == ST_SKETCHER) return st_sketch_row(s, row);
  if (masks) return st_whole_row(s, row, NULL);
  if (s->missing == ST_INTERPOLATE)
    return st_append(&s->gaps, row, count * sizeof *row) ? st_interpolate(s, false) : st_no_memory();
  double *whole = st_calloc(s->width, sizeof *whole);
  if (!whole) return st_no_memory();
  for (size_t i = 0; i < count; i++) {
    bool missing = isnan(row[i]);
    if (!missing) s->last[i] = row[i];
    whole[i] = missing && s->missing == ST_HOLD ? s->last[i] : row[i];
    if (s->masked) whole[count + i] = missing;
    gap = gap || isnan(whole[i]);
  }
  streaming_code code = gap ? STREAMING_OK : st_whole_row(s, whole, row); /* a gap: dropped, or before the first value */
  free(whole);
  return code;
}

static streaming_code st_put_sample(streaming_session *s, double sample) {
  st_mel *mel = s->mel;
  if (!mel) {
    s->input[s->pending++] = (float)sample;
    if (s->pending < s->width) return STREAMING_OK;
    s->pending = 0;
    return st_feed_numbers(s);
  }
  if (mel->skip) {
    mel->skip--;
    return STREAMING_OK;
  }
  mel->held[mel->held_count++] = sample;
  if (mel->held_count < mel->length) return STREAMING_OK;
  st_frame(mel, s->frame, s->input);
  size_t gone = mel->step < mel->held_count ? mel->step : mel->held_count;
  memmove(mel->held, mel->held + gone, (mel->held_count - gone) * sizeof *mel->held);
  mel->held_count -= gone;
  mel->skip = mel->step - gone;
  return st_feed_numbers(s);
}

static streaming_code st_put_zeros(streaming_session *s, size_t count) {
  for (size_t i = 0; i < count; i++) ST_TRY(st_put_sample(s, 0));
  return STREAMING_OK;
}

/* The end of an utterance, at `s->sample`. */
static streaming_code st_end_sound(streaming_session *s) {
  bool begun = s->mel && s->mel->begun;
  if (begun && s->mel->edge) ST_TRY(st_put_zeros(s, s->mel->edge));
  s->failed = STREAMING_OK;
  if (s->fed) ST_TRY(streaming_finish(s->stream, st_take_row, s));
  ST_TRY(s->failed);
  double begin = (double)s->begin / s->rate, end = (double)s->sample / s->rate;
  if (s->task == ST_TRANSCRIBER) {
    if (s->ctc) st_beam_text(s);
    streaming_event event = {.event = "transcript", .text = s->tokens ? s->text.data : "", .score = s->score, .begin = begin, .end = end};
    if (s->tokens) st_tell(s, &event);
    ST_TRY(s->failed);
  } else if (s->endpointer.used && s->recent_count) {
    const double *last = s->recent + (s->recent_next + s->window - 1) % s->window * s->label_count;
    size_t best = st_best(last, s->label_count);
    streaming_event event = {.event = "utterance", .text = s->labels.items[best], .score = last[best], .begin = begin, .end = end};
    st_tell(s, &event);
  }
  s->begin = s->sample;
  return st_anew(s);
}

streaming_code streaming_session_samples(streaming_session *s, const float *samples, size_t count) {
  ST_TRY(st_takes(s, s && (s->task == ST_KEYWORDS || s->task == ST_TRANSCRIBER), "samples"));
  if (!samples && count) return st_fail(STREAMING_ARGUMENT, "the samples are NULL; give numbers between -1 and 1");
  for (size_t i = 0; i < count; i++)
    if (!isfinite(samples[i])) return st_fail(STREAMING_INPUT, "audio holds %g at %zu, expected finite numbers; clean it", (double)samples[i], i);
  for (size_t i = 0; i < count; i++) {
    if (s->sample == s->begin) {
      ST_TRY(st_put_zeros(s, s->mel ? s->mel->edge : 0));
      ST_TRY(st_put_zeros(s, s->zeros));
      if (s->mel) s->mel->begun = true;
    }
    ST_TRY(st_put_sample(s, samples[i]));
    s->sample++;
    if (s->endpointer.used && st_endpoint(&s->endpointer, samples[i])) ST_TRY(st_end_sound(s));
  }
  return STREAMING_OK;
}

/* One token into a stream; its row is then s->last_row. */
static streaming_code st_feed_token(streaming_session *s, streaming_stream *stream, int32_t token, int32_t other, int side) {
  int64_t wide[2] = {token, other};
  int32_t narrow[2] = {token, other};
  const void *inputs[2];
  for (size_t i = 0; i < s->model->input_count; i++) {
    size_t which = i == (size_t)side ? 0 : 1;
    inputs[i] = s->model->inputs[i].info.type == STREAMING_INT64 ? (void *)&wide[which] : (void *)&narrow[which];
  }
  streaming_rows rows[ST_MAX_TENSORS];
  ST_TRY(streaming_step(stream, inputs, rows));
  if (rows[0].count != 1) return st_unfit("it does not give a row a step");
  s->last_row = st_real_row(s, rows[0].data);
  return STREAMING_OK;
}

static int32_t st_best_token(const float *row, size_t count, bool may_end) {
  int32_t best = -1;
  for (size_t i = may_end ? ST_END : ST_END + 1; i < count; i++)
    if (best < 0 || row[i] > row[best]) best = (int32_t)i;
  return best;
}

static streaming_code st_generate(streaming_session *s, const char *text, size_t limit) {
  st_ids ids = {0};
  streaming_code code = !s->start || st_push(&ids, ST_START) ? st_text_encode(s->target, text, &ids) : st_no_memory();
  if (code == STREAMING_OK && !ids.count) code = st_fail(STREAMING_INPUT, "the prompt is empty; this model goes on from at least one piece of text");
  if (code == STREAMING_OK) code = streaming_reset(s->stream);
  for (size_t i = 0; code == STREAMING_OK && i < ids.count; i++) code = st_feed_token(s, s->stream, ids.data[i], 0, 0);
  for (size_t i = 0; code == STREAMING_OK && i < limit; i++) {
    int32_t token = st_best_token(s->last_row, s->target->count, s->start);
    if (token < 0 || token == ST_END) break;
    st_log_softmax(s->last_row, s->target->count, s->p);
    if (!st_text_of(s->target, &token, 1, false, &s->text)) code = st_no_memory();
    streaming_event event = {.event = "piece", .text = s->text.data, .score = s->p[token]};
    if (code == STREAMING_OK) st_tell(s, &event);
    if (code == STREAMING_OK && i + 1 < limit) code = st_feed_token(s, s->stream, token, 0, 0);
  }
  free(ids.data);
  return code;
}

/* The best text of a stream that has seen its source, which is pool[0]; the beam lies in one half of the pool. */
static streaming_code st_search(streaming_session *s) {
  size_t width = s->beam_width, labels = s->target->count, live = 1, half = 0, done = 0, room = s->limit + 1;
  st_hypothesis *beams[2] = {st_calloc(width, sizeof(st_hypothesis)), st_calloc(width, sizeof(st_hypothesis))}, best = {-INFINITY, NULL, 0, false};
  st_choice *choices = st_malloc(width * labels * sizeof *choices);
  int32_t *tokens = st_calloc((2 * width + 1) * room, sizeof *tokens);
  streaming_code code = beams[0] && beams[1] && choices && tokens ? STREAMING_OK : st_no_memory();
  for (size_t i = 0; code == STREAMING_OK && i < width; i++) {
    beams[0][i].tokens = tokens + i * room;
    beams[1][i].tokens = tokens + (width + i) * room;
  }
  if (code == STREAMING_OK) best.tokens = tokens + 2 * width * room;
  for (size_t step = 0; code == STREAMING_OK && step < s->limit && live; step++) {
    st_hypothesis *beam = beams[half], *next = beams[!half];
    size_t count = 0;
    for (size_t i = 0; code == STREAMING_OK && i < live; i++) {
      code = st_feed_token(s, s->pool[half * width + i], beam[i].count ? beam[i].tokens[beam[i].count - 1] : ST_START, 0, 0);
      if (code != STREAMING_OK) break;
      st_log_softmax(s->last_row, labels, s->p);
      for (size_t t = ST_END; t < labels; t++)
        if (s->p[t] > -INFINITY) choices[count++] = (st_choice){beam[i].total + s->p[t], i, (int32_t)t};
    }
    if (code != STREAMING_OK) break;
    qsort(choices, count, sizeof *choices, st_by_choice);
    size_t kept = 0;
    for (size_t i = 0; code == STREAMING_OK && i < count && i < 2 * width; i++) {
      const st_hypothesis *parent = &beam[choices[i].parent];
      st_hypothesis made = {choices[i].total, NULL, parent->count, choices[i].token == ST_END};
      if (made.ended) {
        if (done++ == 0 || st_worth(&made, s->penalty) > st_worth(&best, s->penalty)) {
          memcpy(best.tokens, parent->tokens, parent->count * sizeof *tokens);
          best.total = made.total, best.count = made.count, best.ended = true;
        }
      } else if (kept < width) {
        memcpy(next[kept].tokens, parent->tokens, parent->count * sizeof *tokens);
        next[kept].tokens[parent->count] = choices[i].token;
        next[kept].total = made.total;
        next[kept].count = parent->count + 1;
        code = streaming_copy(s->pool[!half * width + kept], s->pool[half * width + choices[i].parent]);
        kept++;
      }
    }
    live = kept;
    half = !half;
    double limit = live ? next[0].total / pow((5.0 + (double)s->limit) / 6.0, s->penalty) : -INFINITY;
    if (done && st_worth(&best, s->penalty) >= limit) break;
  }
  for (size_t i = 0; code == STREAMING_OK && i < live; i++) {
    const st_hypothesis *h = &beams[half][i];
    if (done && st_worth(h, s->penalty) <= st_worth(&best, s->penalty)) continue;
    memcpy(best.tokens, h->tokens, h->count * sizeof *tokens);
    best.total = h->total, best.count = h->count, best.ended = false;
    done++;
  }
  if (code == STREAMING_OK && !st_text_of(s->target, best.tokens, best.count, true, &s->text)) code = st_no_memory();
  streaming_event event = {.event = "text", .text = s->text.data, .score = st_worth(&best, s->penalty)};
  if (code == STREAMING_OK) st_tell(s, &event);
  free(beams[0]);
  free(beams[1]);
  free(choices);
  free(tokens);
  return code;
}

static streaming_code st_translate(streaming_session *s, const char *text) {
  st_ids ids = {0};
  streaming_code code = st_text_encode(s->source, text, &ids);
  if (code == STREAMING_OK && !ids.count) code = st_fail(STREAMING_INPUT, "a translator needs at least one word; received none");
  for (size_t i = 0; code == STREAMING_OK && s->reverse && i < ids.count / 2; i++) {
    int32_t other = ids.data[i];
    ids.data[i] = ids.data[ids.count - 1 - i];
    ids.data[ids.count - 1 - i] = other;
  }
  if (code == STREAMING_OK && s->source_end && !st_push(&ids, ST_END)) code = st_no_memory();
  int64_t *wide = code == STREAMING_OK ? st_malloc(ids.count * sizeof *wide) : NULL;
  if (code == STREAMING_OK && !wide) code = st_no_memory();
  for (size_t i = 0; wide && i < ids.count; i++) wide[i] = ids.data[i];
  const void *sources[] = {s->model->sources[0].info.type == STREAMING_INT64 ? (void *)wide : (void *)ids.data};
  if (code == STREAMING_OK) code = streaming_reset(s->pool[0]);
  if (code == STREAMING_OK) code = streaming_encode(s->pool[0], sources, &ids.count);
  if (code == STREAMING_OK) code = st_search(s);
  free(wide);
  free(ids.data);
  return code;
}

static streaming_code st_tell_word(streaming_session *s, st_ids *open, size_t read) {
  if (!st_text_of(s->target, open->data, open->count, true, &s->text)) return st_no_memory();
  streaming_event event = {.event = "translatedword", .text = s->text.data, .read = read};
  st_tell(s, &event);
  open->count = 0;
  return STREAMING_OK;
}

/* Reads a unit, then writes one; after the end all that is left. */
static streaming_code st_in_turns(streaming_session *s, const char *text) {
  st_ids ids = {0}, open = {0};
  size_t read = 0, written = 0;
  int source = strcmp(s->model->inputs[0].name, "source") != 0;
  streaming_code code = st_text_encode(s->source, text, &ids);
  size_t count = ids.count;
  if (code == STREAMING_OK && count && !st_push(&ids, s->source_end ? ST_END : ST_PAD)) code = st_no_memory();
  if (code == STREAMING_OK) code = streaming_reset(s->stream);
  for (size_t i = 0; code == STREAMING_OK && count && i <= count; i++) {
    bool ended = i == count;
    code = st_feed_token(s, s->stream, ids.data[i], ST_PAD, source);
    if (code != STREAMING_OK) break;
    if (!ended && i + 1 < count && !st_begins_unit(s->source, ids.data[i + 1])) continue;
    read += !ended;
    if (!ended && read < s->wait_k) continue;
    for (bool first = true; code == STREAMING_OK && written < s->limit; first = false) {
      int32_t token = st_best_token(s->last_row, s->target->count, true);
      if (token < 0 || token == ST_END || (!first && !ended && st_begins_unit(s->target, token))) break;
      if (open.count && st_begins_word(s->target, token)) code = st_tell_word(s, &open, read);
      if (code == STREAMING_OK && !st_push(&open, token)) code = st_no_memory();
      written++;
      if (code == STREAMING_OK) code = st_feed_token(s, s->stream, token, ST_PAD, !source);
    }
  }
  if (code == STREAMING_OK && open.count) code = st_tell_word(s, &open, read);
  free(ids.data);
  free(open.data);
  return code;
}

streaming_code streaming_session_text(streaming_session *s, const char *text, size_t limit) {
  ST_TRY(st_takes(s, s && (s->task == ST_GENERATOR || s->task == ST_TRANSLATOR || s->task == ST_IN_TURNS), "text"));
  if (!text) return st_fail(STREAMING_ARGUMENT, "the text is NULL; give one");
  if (s->task == ST_GENERATOR) return st_generate(s, text, limit ? limit : s->limit);
  return s->task == ST_TRANSLATOR ? st_translate(s, text) : st_in_turns(s, text);
}

streaming_code streaming_session_array(streaming_session *s, const double *values, size_t count) {
  ST_TRY(st_takes(s, s && s->task == ST_CAPTIONER, "arrays"));
  const streaming_tensor *source = &s->model->sources[0].info;
  if (!values) return st_fail(STREAMING_ARGUMENT, "the array is NULL; give its numbers");
  if (count != source->elements) return st_fail(STREAMING_INPUT, "the array has %zu numbers, expected %zu", count, source->elements);
  for (size_t i = 0; i < count; i++) {
    if (!isfinite(values[i])) return st_fail(STREAMING_INPUT, "the array holds %g at %zu, expected finite numbers", values[i], i);
    s->input[i] = (float)(values[i] * s->array_scale + s->array_offset);
  }
  const void *sources[] = {s->input};
  size_t length = 1;
  ST_TRY(streaming_reset(s->pool[0]));
  ST_TRY(streaming_encode(s->pool[0], sources, &length));
  return st_search(s);
}

streaming_code streaming_session_finish(streaming_session *s) {
  if (!s) return st_fail(STREAMING_ARGUMENT, "the session is NULL; open one");
  s->failed = STREAMING_OK;
  if (s->task == ST_KEYWORDS || s->task == ST_TRANSCRIBER) {
    if (s->sample > s->begin) ST_TRY(st_end_sound(s));
    s->sample = s->begin = 0;
    st_endpointer_reset(&s->endpointer);
    return st_anew(s);
  }
  if (s->task == ST_SKETCHER) {
    if (s->drawn) ST_TRY(st_sketch(s));
    return st_anew(s);
  }
  if (s->gaps.size) ST_TRY(st_interpolate(s, true));
  s->failed = STREAMING_OK;
  if (s->fed && s->task != ST_ANOMALIES) {
    ST_TRY(streaming_finish(s->stream, st_take_row, s));
    if (s->failed == STREAMING_OK) st_label_end(s);
    ST_TRY(s->failed);
  }
  return st_anew(s);
}
