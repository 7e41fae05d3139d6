/* Probabilities, the best path of a chain, and beams. */

static void st_softmax(const float *row, size_t n, double *p) {
  float top = row[0];
  for (size_t i = 1; i < n; i++) top = row[i] > top ? row[i] : top;
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += p[i] = exp((double)(row[i] - top));
  for (size_t i = 0; i < n; i++) p[i] /= sum;
}

static void st_log_softmax(const float *row, size_t n, double *p) {
  double top = row[0], sum = 0;
  for (size_t i = 1; i < n; i++) top = row[i] > top ? row[i] : top;
  for (size_t i = 0; i < n; i++) sum += exp(row[i] - top);
  for (size_t i = 0; i < n; i++) p[i] = row[i] - top - log(sum);
}

static void st_sigmoid(const float *row, size_t n, double *p) {
  for (size_t i = 0; i < n; i++) {
    double small = exp(-fabs((double)row[i]));
    p[i] = row[i] >= 0 ? 1.0 / (1.0 + small) : small / (1.0 + small);
  }
}

static size_t st_best(const double *p, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++)
    if (p[i] > p[best]) best = i;
  return best;
}

/* log(exp(a) + exp(b)) */
static double st_log_add(double a, double b) {
  double top = a > b ? a : b, low = a > b ? b : a;
  return top == -INFINITY ? top : top + log1p(exp(low - top));
}

/* Viterbi on rows as they come. */
typedef struct st_chain {
  size_t labels, rows, capacity; /* rows that are not settled yet */
  bool begun, limited;
  size_t delay;
  double *moves, *start, *end, *scores, *next;
  int32_t *paths, *other; /* (labels, capacity) */
  double *waiting;        /* softmax of the rows (capacity, labels) */
} st_chain;

static void st_chain_free(st_chain *c) {
  if (!c) return;
  free(c->moves);
  free(c->start);
  free(c->end);
  free(c->scores);
  free(c->next);
  free(c->paths);
  free(c->other);
  free(c->waiting);
  free(c);
}

static bool st_scores(const st_json *list, size_t n, double *out) {
  if (!list) return true;
  if (list->kind != ST_LIST || list->count != n) return false;
  for (const st_json *item = list->first; item; item = item->next) {
    if (item->kind != ST_NULL && item->kind != ST_NUMBER) return false;
    *out++ = item->kind == ST_NULL ? -INFINITY : item->number;
  }
  return true;
}

static streaming_code st_chain_fill(st_chain *c, const st_file *file, size_t labels, const st_json *task) {
  c->labels = labels;
  c->limited = st_get(task, "viterbi_delay") != NULL;
  if (!st_whole(task, "viterbi_delay", 0, 65536, 0, &c->delay)) return st_wrong("task.viterbi_delay");
  c->moves = st_calloc(labels * labels, sizeof(double));
  c->start = st_calloc(labels, sizeof(double));
  c->end = st_calloc(labels, sizeof(double));
  c->scores = st_calloc(labels, sizeof(double));
  c->next = st_calloc(labels, sizeof(double));
  if (!c->moves || !c->start || !c->end || !c->scores || !c->next) return st_no_memory();
  st_json *tree = st_json_parse(file->data, file->size);
  const st_json *rows = st_list(tree, "transitions");
  bool good = rows && rows->count == labels && st_scores(st_get(tree, "start"), labels, c->start) && st_scores(st_get(tree, "end"), labels, c->end);
  size_t i = 0;
  for (const st_json *row = good ? rows->first : NULL; row; row = row->next, i++) good = good && row->kind == ST_LIST && st_scores(row, labels, c->moves + i * labels);
  st_json_free(tree);
  return good ? STREAMING_OK : st_fail(STREAMING_FILE, "transitions.json is damaged; export the model anew");
}

static bool st_chain_grow(st_chain *c) {
  if (c->rows < c->capacity) return true;
  size_t capacity = c->capacity ? 2 * c->capacity : 32;
  int32_t *paths = st_calloc(c->labels * capacity, sizeof *paths), *other = st_calloc(c->labels * capacity, sizeof *other);
  double *waiting = st_realloc(c->waiting, capacity * c->labels * sizeof *waiting);
  if (waiting) c->waiting = waiting;
  if (!paths || !other || !waiting) {
    free(paths);
    free(other);
    return false;
  }
  for (size_t i = 0; i < c->labels && c->rows; i++) memcpy(paths + i * capacity, c->paths + i * c->capacity, c->rows * sizeof *paths);
  free(c->paths);
  free(c->other);
  c->paths = paths;
  c->other = other;
  c->capacity = capacity;
  return true;
}

/* Takes a row; count gets how many labels it settles, which begin at `c->paths + best * capacity`, best in *path. */
static streaming_code st_chain_row(st_chain *c, const float *row, size_t *count, size_t *path) {
  size_t n = c->labels;
  if (!st_chain_grow(c)) return st_no_memory();
  st_softmax(row, n, c->waiting + c->rows * n);
  for (size_t j = 0; j < n; j++) {
    size_t parent = j;
    double best = c->start[j];
    if (c->begun) {
      parent = 0;
      best = -INFINITY;
      for (size_t i = 0; i < n; i++) {
        double reached = c->scores[i] + c->moves[i * n + j];
        if (reached > best) best = reached, parent = i;
      }
      memcpy(c->other + j * c->capacity, c->paths + parent * c->capacity, c->rows * sizeof *c->paths);
    }
    c->other[j * c->capacity + c->rows] = (int32_t)j;
    c->next[j] = best + row[j];
  }
  c->begun = true;
  c->rows++;
  int32_t *paths = c->paths;
  c->paths = c->other;
  c->other = paths;
  double top = c->next[st_best(c->next, n)];
  if (top == -INFINITY) return st_fail(STREAMING_INPUT, "no sequence of labels is possible: every score is -inf; check the chain's scores");
  size_t alive = n, agreed = c->rows;
  for (size_t j = 0; j < n; j++) {
    c->scores[j] = c->next[j] - top;
    if (c->scores[j] == -INFINITY) continue;
    if (alive == n) alive = j;
    size_t same = 0;
    while (same < agreed && c->paths[j * c->capacity + same] == c->paths[alive * c->capacity + same]) same++;
    agreed = same;
  }
  *count = agreed;
  *path = alive;
  if (c->limited && c->rows - agreed > c->delay) {
    *path = st_best(c->scores, n);
    *count = c->rows - c->delay;
    for (size_t j = 0; j < n; j++)
      if (memcmp(c->paths + j * c->capacity, c->paths + *path * c->capacity, *count * sizeof *c->paths)) c->scores[j] = -INFINITY;
  }
  return STREAMING_OK;
}

static void st_chain_drop(st_chain *c, size_t count) {
  size_t left = c->rows - count;
  for (size_t j = 0; j < c->labels; j++)
    memmove(c->paths + j * c->capacity, c->paths + j * c->capacity + count, left * sizeof *c->paths);
  if (left) memmove(c->waiting, c->waiting + count * c->labels, left * c->labels * sizeof *c->waiting);
  c->rows = left;
}

/* Prefixes of CTC: texts in a tree, each a token after its parent. */
typedef struct st_prefix {
  size_t parent; /* of the pool */
  int32_t token;
} st_prefix;

typedef struct st_entry {
  size_t node; /* of the text, or of the one that `added` makes longer */
  int32_t added; /* -1: none */
  double blank, token;
} st_entry;

typedef struct st_ctc {
  st_prefix *pool;
  size_t pool_count, pool_size, width, count;
  st_entry *beam, *next;
} st_ctc;

static void st_ctc_free(st_ctc *ctc) {
  if (!ctc) return;
  free(ctc->pool);
  free(ctc->beam);
  free(ctc->next);
  free(ctc);
}

static bool st_ctc_reset(st_ctc *ctc, size_t width, size_t labels) {
  if (!ctc->beam) {
    ctc->width = width;
    ctc->beam = st_malloc(width * sizeof *ctc->beam);
    ctc->next = st_malloc((width + width * labels) * sizeof *ctc->next);
    ctc->pool = st_malloc(64 * sizeof *ctc->pool);
    ctc->pool_size = 64;
    if (!ctc->beam || !ctc->next || !ctc->pool) return false;
  }
  ctc->pool[0] = (st_prefix){0, -1};
  ctc->pool_count = ctc->count = 1;
  ctc->beam[0] = (st_entry){0, -1, 0.0, -INFINITY};
  return true;
}

static int st_by_total(const void *a, const void *b) {
  const st_entry *x = a, *y = b;
  double p = st_log_add(x->blank, x->token), q = st_log_add(y->blank, y->token);
  return (p < q) - (p > q);
}

static size_t st_ctc_child(st_ctc *ctc, size_t parent, int32_t token) {
  for (size_t i = 1; i < ctc->pool_count; i++)
    if (ctc->pool[i].parent == parent && ctc->pool[i].token == token) return i;
  return 0;
}

static bool st_ctc_holds(const st_ctc *ctc, size_t parent, int32_t token) {
  for (size_t k = 0; k < ctc->count; k++) {
    const st_prefix *prefix = &ctc->pool[ctc->beam[k].node];
    if (ctc->beam[k].node && prefix->parent == parent && prefix->token == token) return true;
  }
  return false;
}

/* The log probability that a text ends in another of its last token: a repeated one needs a blank between. */
static double st_ctc_from(const st_ctc *ctc, const st_entry *e, int32_t token) {
  return ctc->pool[e->node].token == token ? e->blank : st_log_add(e->blank, e->token);
}

/* Takes a row of log probabilities. */
static bool st_ctc_row(st_ctc *ctc, const double *p, size_t labels, size_t blank) {
  size_t count = 0;
  for (size_t i = 0; i < ctc->count; i++) {
    const st_entry *e = &ctc->beam[i];
    int32_t last = ctc->pool[e->node].token;
    double stays = last < 0 ? -INFINITY : e->token + p[last];
    for (size_t k = 0; k < ctc->count && last >= 0; k++)
      if (ctc->beam[k].node == ctc->pool[e->node].parent) stays = st_log_add(stays, st_ctc_from(ctc, &ctc->beam[k], last) + p[last]);
    ctc->next[count++] = (st_entry){e->node, -1, st_log_add(e->blank, e->token) + p[blank], stays};
  }
  for (size_t i = 0; i < ctc->count; i++)
    for (size_t t = 0; t < labels; t++)
      if (t != blank && !st_ctc_holds(ctc, ctc->beam[i].node, (int32_t)t))
        ctc->next[count++] = (st_entry){ctc->beam[i].node, (int32_t)t, -INFINITY, st_ctc_from(ctc, &ctc->beam[i], (int32_t)t) + p[t]};
  qsort(ctc->next, count, sizeof *ctc->next, st_by_total);
  ctc->count = 0;
  for (size_t i = 0; i < count && ctc->count < ctc->width; i++) {
    st_entry *e = &ctc->next[i];
    if (st_log_add(e->blank, e->token) == -INFINITY) continue;
    if (e->added >= 0) {
      size_t child = st_ctc_child(ctc, e->node, e->added);
      if (!child) {
        if (ctc->pool_count == ctc->pool_size) {
          st_prefix *pool = st_realloc(ctc->pool, 2 * ctc->pool_size * sizeof *pool);
          if (!pool) return false;
          ctc->pool = pool;
          ctc->pool_size *= 2;
        }
        child = ctc->pool_count++;
        ctc->pool[child] = (st_prefix){e->node, e->added};
      }
      e->node = child;
      e->added = -1;
    }
    ctc->beam[ctc->count++] = *e;
  }
  return true;
}

/* Beam search over texts: hypotheses with their streams. */
typedef struct st_hypothesis {
  double total;
  int32_t *tokens;
  size_t count;
  bool ended;
} st_hypothesis;

typedef struct st_choice {
  double total;
  size_t parent;
  int32_t token;
} st_choice;

static int st_by_choice(const void *a, const void *b) {
  const st_choice *x = a, *y = b;
  if (x->total != y->total) return (x->total < y->total) - (x->total > y->total);
  if (x->parent != y->parent) return x->parent < y->parent ? -1 : 1;
  return (x->token > y->token) - (x->token < y->token);
}

static double st_worth(const st_hypothesis *h, double penalty) {
  return h->total / pow((5.0 + (double)h->count + h->ended) / 6.0, penalty);
}
