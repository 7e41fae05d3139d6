/* What each task keeps between two rows. */

typedef enum st_task {
  ST_TAGGER,
  ST_CLASSIFIER,
  ST_SEQUENCE_TAGGER,
  ST_KEYWORDS,
  ST_TRANSCRIBER,
  ST_TRANSLATOR,
  ST_IN_TURNS,
  ST_CAPTIONER,
  ST_GENERATOR,
  ST_FORECASTER,
  ST_ANOMALIES,
  ST_SKETCHER
} st_task;

/* Rows that an interpolation waits for the next value of a column. */
#define ST_MAX_WAITING 100000

struct streaming_session {
  streaming_model *model;
  streaming_stream *stream;
  streaming_listener listener;
  void *user;
  streaming_code failed; /* of a listener's row: allocation, or scores that allow no path */
  st_task task;
  bool rows, fed, multi;
  st_lines labels;
  size_t label_count, row, up, down;
  double *p, *mean;
  double threshold;
  const char **held_labels;
  /* words */
  st_words *words;
  int32_t *ids[3];
  char **waiting; /* words whose tags are not settled */
  size_t waiting_count, waiting_size;
  st_chain *chain;
  double rate;
  /* numbers */
  size_t width, columns, targets, horizon, quantiles, middle;
  size_t *places;
  double *scaler_mean, *scaler_scale, *values, *expected, *errors, *early;
  double *widths, *bounds, coverage, width_rate; /* of intervals that adapt: logarithms, and what was given for rows to come */
  size_t scored;
  bool scaled, has_expected, masked;
  enum { ST_REFUSE, ST_DROP, ST_HOLD, ST_INTERPOLATE } missing;
  double *last, *last_at; /* value of each column, NaN before its first, and where it was */
  st_buffer gaps;          /* rows that wait for a value */
  size_t passed;           /* rows before those */
  size_t short_window, long_window, warm_up, probation, error_count, early_count;
  float *input, *real; /* of a step; a row that the model gives in integers, as numbers */
  void *integers;      /* of a step, for a model that takes integers */
  /* sound */
  st_mel *mel;
  st_endpointer endpointer;
  double *recent, smoothing, refractory, score, lead_seconds;
  double *frame;
  float *frames;
  bool *wanted, *told, *rising;
  size_t *absent, rest; /* rows since a keyword led, and how many end an episode */
  size_t window, recent_count, recent_next, step, length, lead, zeros, blank, beam, sample, begin, pending;
  int32_t last_token;
  st_buffer text;
  const char *joiner;
  st_ctc *ctc;
  size_t tokens;
  /* texts */
  st_codec *source, *target;
  size_t limit, beam_width, wait_k;
  double penalty, array_scale, array_offset;
  bool reverse, source_end, start;
  streaming_stream **pool;
  const float *last_row;
  /* drawings: the output after the last row is in `p` once there was one */
  double floor, temperature;
  size_t components;
  uint32_t random;
  bool drawn;
};

/* The input step, counted from 0, that completes an output row. */
static size_t st_last_step(const streaming_session *s, size_t row) {
  const streaming_model *m = s->model;
  if (m->window) return (m->pad ? (m->window - 1) % m->hop + 1 : m->window) + row * m->hop - 1;
  return ((row + 1) * s->down + s->up - 1) / s->up - 1;
}

static void st_tell(streaming_session *s, const streaming_event *event) { s->listener(s->user, event); }

static void st_predict(streaming_session *s, const float *row) {
  if (s->multi)
    st_sigmoid(row, s->label_count, s->p);
  else
    st_softmax(row, s->label_count, s->p);
  size_t best = st_best(s->p, s->label_count), held = 0;
  for (size_t i = 0; s->multi && i < s->label_count; i++)
    if (s->p[i] >= s->threshold) s->held_labels[held++] = s->labels.items[i];
  streaming_event event = {.event = "prediction", .text = s->labels.items[best], .score = s->p[best], .row = s->row, .labels = s->held_labels, .label_count = held};
  s->row++;
  st_tell(s, &event);
}

static void st_tag(streaming_session *s, size_t label, double score) {
  streaming_event event = {.tag = s->labels.items[label], .score = score, .row = s->row};
  if (s->task == ST_TAGGER) {
    event.event = "taggedword";
    event.text = s->row < s->waiting_count ? s->waiting[s->row] : "";
    st_tell(s, &event);
    s->row++;
    return;
  }
  event.event = "taggedrow";
  event.has_time = s->rate > 0;
  double steps = s->model->window ? (double)st_last_step(s, s->row) : (double)s->row * (double)s->down / (double)s->up;
  event.time = s->rate > 0 ? steps / s->rate : 0;
  s->row++;
  st_tell(s, &event);
}

static void st_settled(streaming_session *s, size_t path, size_t count) {
  st_chain *c = s->chain;
  for (size_t i = 0; i < count; i++) {
    size_t label = (size_t)c->paths[path * c->capacity + i];
    st_tag(s, label, c->waiting[i * c->labels + label]);
  }
  st_chain_drop(c, count);
}

static void st_label(streaming_session *s, const float *row) {
  if (!s->chain) {
    st_softmax(row, s->label_count, s->p);
    size_t best = st_best(s->p, s->label_count);
    st_tag(s, best, s->p[best]);
    return;
  }
  size_t count = 0, path = 0;
  s->failed = st_chain_row(s->chain, row, &count, &path);
  if (s->failed == STREAMING_OK) st_settled(s, path, count);
}

static void st_label_end(streaming_session *s) {
  st_chain *c = s->chain;
  if (!c || !c->begun) return;
  for (size_t i = 0; i < c->labels; i++) c->next[i] = c->scores[i] + c->end[i];
  size_t last = st_best(c->next, c->labels);
  if (c->next[last] == -INFINITY) last = st_best(c->scores, c->labels);
  st_settled(s, last, c->rows);
  c->begun = false;
  c->rows = 0;
}

/* Element of a forecast in units of the scaler. */
static double st_forecast(const streaming_session *s, const float *row, size_t step, size_t target, size_t quantile) {
  return row[(step * s->targets + target) * s->quantiles + quantile];
}

/* The lowest and the highest quantile given for a row to come, `ahead` rows before it. */
static double *st_bounds(const streaming_session *s, size_t row, size_t ahead, size_t target) {
  return s->bounds + (((row % s->horizon) * s->horizon + ahead - 1) * s->targets + target) * 2;
}

/* Scores the forecasts of a row without a gap; `came` has NaN where a value was missing, else the row has masks. */
static void st_score(streaming_session *s, const double *row, const double *came) {
  for (size_t t = 0; t < s->targets; t++) {
    size_t column = s->places[t];
    if (came ? isnan(came[column]) : s->masked && row[s->width / 2 + column] > 0) continue;
    for (size_t h = 1; h <= s->horizon; h++) {
      const double *bounds = st_bounds(s, s->scored, h, t);
      if (isnan(bounds[0])) continue;
      double *width = &s->widths[(h - 1) * s->targets + t];
      bool wrong = row[column] < bounds[0] || row[column] > bounds[1];
      *width = fmin(5, fmax(-5, *width + s->width_rate * (wrong - (1 - s->coverage))));
    }
  }
  s->scored++;
}

/* Widens or narrows the quantiles in s->values. */
static void st_adapt(streaming_session *s) {
  for (size_t h = 0; h < s->horizon; h++)
    for (size_t t = 0; t < s->targets; t++) {
      double *values = s->values + (h * s->targets + t) * s->quantiles, middle = values[s->middle];
      double factor = exp(s->widths[h * s->targets + t]), *bounds = st_bounds(s, s->scored + h, h + 1, t);
      for (size_t q = 0; q < s->quantiles; q++) values[q] = middle + factor * (values[q] - middle);
      bounds[0] = values[0];
      bounds[1] = values[s->quantiles - 1];
    }
}

static void st_tell_forecast(streaming_session *s, const float *row) {
  for (size_t h = 0; h < s->horizon; h++)
    for (size_t t = 0; t < s->targets; t++)
      for (size_t q = 0; q < s->quantiles; q++) {
        double value = st_forecast(s, row, h, t, q);
        size_t column = s->places[t];
        s->values[(h * s->targets + t) * s->quantiles + q] = s->scaled ? value * s->scaler_scale[column] + s->scaler_mean[column] : value;
      }
  if (s->bounds) st_adapt(s);
  streaming_event event = {.event = "forecast", .row = s->row++, .values = s->values, .horizon = s->horizon, .targets = s->targets, .quantiles = s->quantiles, .middle = s->middle};
  st_tell(s, &event);
}

static void st_tell_anomaly(streaming_session *s, double error, double score) {
  streaming_event event = {.event = "anomaly", .row = s->row++, .error = error, .score = score, .alarm = score >= s->threshold};
  st_tell(s, &event);
}

static double st_likelihood(streaming_session *s, double error) {
  s->errors[s->error_count % s->long_window] = error;
  s->error_count++;
  if (s->error_count < s->warm_up) return 0;
  size_t known = s->error_count < s->long_window ? s->error_count : s->long_window;
  size_t late = s->error_count < s->short_window ? s->error_count : s->short_window;
  double mean = 0, spread = 0, recent = 0;
  for (size_t i = 0; i < known; i++) mean += s->errors[i];
  mean /= (double)known;
  for (size_t i = 0; i < known; i++) spread += (s->errors[i] - mean) * (s->errors[i] - mean);
  spread = sqrt(spread / (double)known);
  for (size_t i = s->error_count - late; i < s->error_count; i++) recent += s->errors[i % s->long_window];
  recent /= (double)late;
  return 0.5 * erfc(-(recent - mean) / (spread > 1e-12 ? spread : 1e-12) / sqrt(2.0));
}

/* What a row that the model has taken, in units of the scaler, says against its forecast. */
static double st_error_of(streaming_session *s, const double *row, double *score) {
  double sum = 0;
  *score = 0;
  if (!s->has_expected) return 0;
  for (size_t t = 0; t < s->targets; t++) {
    double difference = row[s->places[t]] - s->expected[t];
    sum += difference * difference;
  }
  double error = sqrt(sum / (double)s->targets);
  *score = st_likelihood(s, error);
  return error;
}

static void st_keyword(streaming_session *s, const float *row, double time) {
  size_t n = s->label_count;
  if (s->multi)
    st_sigmoid(row, n, s->p);
  else
    st_softmax(row, n, s->p);
  memcpy(s->recent + s->recent_next * n, s->p, n * sizeof *s->p);
  s->recent_next = (s->recent_next + 1) % s->window;
  if (s->recent_count < s->window) s->recent_count++;
  size_t best = n;
  double quiet = 0;
  for (size_t i = 0; i < n; i++) {
    double sum = 0;
    for (size_t k = 0; k < s->recent_count; k++) sum += s->recent[k * n + i];
    s->mean[i] = sum / (double)s->recent_count;
    if (!s->wanted[i])
      quiet += s->mean[i];
    else if (best == n || s->mean[i] > s->mean[best])
      best = i;
  }
  double least = s->threshold < 0.5 ? s->threshold : 0.5;
  for (size_t i = 0; i < n; i++) {
    bool leads = s->wanted[i] && (s->multi ? s->mean[i] >= least : i == best && s->mean[i] > quiet);
    if (!leads) {
      if (s->absent[i] < s->rest) s->absent[i]++;
      s->rising[i] = false;
      continue;
    }
    if (s->absent[i] >= s->rest) s->told[i] = false;
    s->absent[i] = 0;
    s->rising[i] = !s->told[i] && s->mean[i] >= s->threshold;
  }
  /* Events of one row by falling means. */
  for (;;) {
    size_t next = n;
    for (size_t i = 0; i < n; i++)
      if (s->rising[i] && (next == n || s->mean[i] > s->mean[next])) next = i;
    if (next == n) return;
    s->rising[next] = false;
    s->told[next] = true;
    streaming_event event = {.event = "keyword", .text = s->labels.items[next], .score = s->mean[next], .time = time, .has_time = 1};
    st_tell(s, &event);
  }
}

static bool st_add_token(streaming_session *s, size_t token) {
  bool good = s->tokens == 0 || st_append(&s->text, s->joiner, strlen(s->joiner));
  s->tokens++;
  return good && st_append(&s->text, s->labels.items[token], strlen(s->labels.items[token]));
}

static void st_transcribe(streaming_session *s, const float *row, double time) {
  st_log_softmax(row, s->label_count, s->p);
  if (s->ctc) {
    if (!st_ctc_row(s->ctc, s->p, s->label_count, s->blank)) s->failed = st_no_memory();
    return;
  }
  size_t best = st_best(s->p, s->label_count);
  s->score += s->p[best];
  if (best != s->blank && (int32_t)best != s->last_token) {
    if (!st_add_token(s, best)) s->failed = st_no_memory();
    streaming_event event = {.event = "token", .text = s->labels.items[best], .time = time, .has_time = 1};
    st_tell(s, &event);
  }
  s->last_token = (int32_t)best;
}

static void st_beam_text(streaming_session *s) {
  st_ctc *ctc = s->ctc;
  size_t best = 0, count = 0;
  for (size_t i = 1; i < ctc->count; i++)
    if (st_log_add(ctc->beam[i].blank, ctc->beam[i].token) > st_log_add(ctc->beam[best].blank, ctc->beam[best].token)) best = i;
  s->score = st_log_add(ctc->beam[best].blank, ctc->beam[best].token);
  for (size_t node = ctc->beam[best].node; node; node = ctc->pool[node].parent) count++;
  for (size_t i = 0; i < count; i++) {
    size_t node = ctc->beam[best].node;
    for (size_t k = 0; k + i + 1 < count; k++) node = ctc->pool[node].parent;
    if (!st_add_token(s, (size_t)ctc->pool[node].token)) s->failed = st_no_memory();
  }
}
