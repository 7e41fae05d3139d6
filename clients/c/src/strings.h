/* Tables of strings: the ids of words and texts for models that begin with a lookup (docs/format.md, "table of strings"). */

#define ST_K0 0xc3a5c85c97cb3127u
#define ST_K1 0xb492b66fbe98f273u
#define ST_K2 0x9ae16a3b2f90404fu
#define ST_MAX_NGRAM 32

static uint64_t st_word64(const unsigned char *p) { return (uint64_t)st_u32(p) | (uint64_t)st_u32(p + 4) << 32; }
static uint64_t st_right(uint64_t x, int n) { return x >> n | x << (64 - n); }
static uint64_t st_left(uint64_t x, int n) { return x << n | x >> (64 - n); }
static uint64_t st_mixed(uint64_t x) { return x ^ x >> 47; }

static uint64_t st_pair(uint64_t u, uint64_t v, uint64_t factor) {
  uint64_t a = st_mixed((u ^ v) * factor);
  return st_mixed((v ^ a) * factor) * factor;
}

static uint64_t st_up_to_16(const unsigned char *p, size_t n) {
  uint64_t factor = ST_K2 + 2 * n;
  if (n >= 8) {
    uint64_t a = st_word64(p) + ST_K2, b = st_word64(p + n - 8);
    return st_pair(st_right(b, 37) * factor + a, (st_right(a, 25) + b) * factor, factor);
  }
  if (n >= 4) return st_pair(n + ((uint64_t)st_u32(p) << 3), st_u32(p + n - 4), factor);
  if (!n) return ST_K2;
  uint64_t y = p[0] + ((uint64_t)p[n >> 1] << 8), z = n + ((uint64_t)p[n - 1] << 2);
  return st_mixed(y * ST_K2 ^ z * ST_K0) * ST_K2;
}

static uint64_t st_up_to_64(const unsigned char *p, size_t n) {
  uint64_t factor = ST_K2 + 2 * n, a = st_word64(p) * (n > 32 ? ST_K2 : ST_K1), b = st_word64(p + 8);
  uint64_t c = st_word64(p + n - 8) * factor, d = st_word64(p + n - 16) * ST_K2;
  uint64_t y = st_right(a + b, 43) + st_right(c, 30) + d, z = st_pair(y, a + st_right(b + ST_K2, 18) + c, factor);
  if (n <= 32) return z;
  uint64_t e = st_word64(p + 16) * factor, f = st_word64(p + 24);
  uint64_t g = (y + st_word64(p + n - 32)) * factor, h = (z + st_word64(p + n - 24)) * factor;
  return st_pair(st_right(e + f, 43) + st_right(g, 30) + h, e + st_right(f + a, 18) + g, factor);
}

static void st_weak(const unsigned char *p, uint64_t a, uint64_t b, uint64_t out[2]) {
  a += st_word64(p);
  b = st_right(b + a + st_word64(p + 24), 21);
  uint64_t c = a;
  a += st_word64(p + 8) + st_word64(p + 16);
  out[0] = a + st_word64(p + 24);
  out[1] = b + st_right(a, 44) + c;
}

typedef struct st_farm {
  uint64_t x, y, z, v[2], w[2];
} st_farm;

/* Mixes 64 bytes in: the factor of the sums, and that of the carried halves. */
static void st_farm_block(st_farm *s, const unsigned char *p, uint64_t factor, uint64_t times) {
  uint64_t x = st_right(s->x + s->y + s->v[0] + st_word64(p + 8), 37) * factor;
  uint64_t y = st_right(s->y + s->v[1] + st_word64(p + 48), 42) * factor;
  x ^= s->w[1] * times;
  y += s->v[0] * times + st_word64(p + 40);
  uint64_t z = st_right(s->z + s->w[0], 33) * factor, w = s->w[0], v = s->v[1], u = s->w[1];
  st_weak(p, v * factor, x + w, s->v);
  st_weak(p + 32, z + u, y + st_word64(p + 16), s->w);
  s->x = z;
  s->y = y;
  s->z = x;
}

/* FarmHash's Fingerprint64 (github.com/google/farmhash). */
static uint64_t st_fingerprint64(const unsigned char *p, size_t n) {
  if (n <= 16) return st_up_to_16(p, n);
  if (n <= 64) return st_up_to_64(p, n);
  uint64_t y = 81 * ST_K1 + 113;
  st_farm s = {81 * ST_K2 + st_word64(p), y, st_mixed(y * ST_K2 + 113) * ST_K2, {0, 0}, {0, 0}};
  size_t last = (n - 1) / 64 * 64, rest = (n - 1) & 63;
  for (size_t at = 0; at < last; at += 64) st_farm_block(&s, p + at, ST_K1, 1);
  uint64_t factor = ST_K1 + ((s.z & 255) << 1), first = s.w[0] + rest;
  s.v[0] += first;
  s.w[0] = first + s.v[0];
  st_farm_block(&s, p + last + rest - 63, factor, 9);
  return st_pair(st_pair(s.v[0], s.w[0], factor) + st_mixed(s.y) * ST_K0 + s.z, st_pair(s.v[1], s.w[1], factor) + s.x, factor);
}

static void st_sip_rounds(uint64_t s[4], int count) {
  for (; count; count--) {
    s[0] += s[1];
    s[2] += s[3];
    s[1] = st_left(s[1], 13) ^ s[0];
    s[3] = st_left(s[3], 16) ^ s[2];
    s[0] = st_left(s[0], 32) + s[3];
    s[2] += s[1];
    s[1] = st_left(s[1], 17) ^ s[2];
    s[3] = st_left(s[3], 21) ^ s[0];
    s[2] = st_left(s[2], 32);
  }
}

/* SipHash-2-4 (Aumasson and Bernstein 2012). */
static uint64_t st_siphash24(const unsigned char *p, size_t n, const uint64_t key[2]) {
  uint64_t s[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
  for (size_t at = 0; at <= n / 8 * 8; at += 8) {
    uint64_t word = at < n / 8 * 8 ? st_word64(p + at) : (uint64_t)(n & 255) << 56;
    for (size_t i = 0; at == n / 8 * 8 && i < n % 8; i++) word |= (uint64_t)p[at + i] << (8 * i);
    s[3] ^= word;
    st_sip_rounds(s, 2);
    s[0] ^= word;
  }
  s[2] ^= 255;
  st_sip_rounds(s, 4);
  return s[0] ^ s[1] ^ s[2] ^ s[3];
}

typedef struct st_bins {
  size_t bins; /* 0: there is no hash */
  const char *masked;
  bool keyed;
  uint64_t key[2];
} st_bins;

typedef struct st_table {
  st_json *json; /* which the texts below are of */
  enum { ST_WORDS, ST_HASHES, ST_TEXTS } kind;
  st_map words;
  size_t word_count;
  int64_t unknown; /* -1: refused, or hashed */
  size_t first;
  st_bins hash;
  bool lower, strip, cut;
  enum { ST_WHOLE, ST_BLANKS, ST_CHARACTERS } split;
  size_t ngrams[ST_MAX_NGRAM], ngram_count, length; /* length 0: each token is a step */
} st_table;

static void st_table_free(st_table *table) {
  if (!table) return;
  st_json_free(table->json);
  st_map_free(&table->words);
  free(table);
}

/* A number of 64 bits, which may be more than a double holds. What was parsed has to be there still. */
static bool st_whole64(const st_json *item, uint64_t *value) {
  if (!item || item->kind != ST_NUMBER || floor(item->number) != item->number || fabs(item->number) > 18446744073709551615.0) return false;
  char *end;
  bool below = *item->digits == '-';
  *value = strtoull(item->digits + below, &end, 10);
  if (below) *value = 0 - *value;
  return !*end || !strchr(".eE", *end);
}

static bool st_read_bins(const st_json *json, st_bins *hash) {
  const st_json *masked = st_get(json, "masked"), *key = st_get(json, "key");
  if (!st_whole(json, "bins", 1, 2147483647.0, -1, &hash->bins) || (masked && masked->kind != ST_STRING)) return false;
  hash->masked = masked ? masked->text : NULL;
  hash->keyed = key != NULL;
  return !key || (key->kind == ST_LIST && key->count == 2 && st_whole64(key->first, &hash->key[0]) && st_whole64(key->first->next, &hash->key[1]));
}

static bool st_read_words(st_table *table) {
  const st_json *words = st_get(table->json, "words"), *others = st_get(table->json, "others");
  size_t unknown = 0;
  if (!words || words->kind != ST_OBJECT || !st_map_make(&table->words, words->count)) return false;
  for (const st_json *word = words->first; word; word = word->next) {
    if (word->kind != ST_NUMBER || !(word->number >= 0 && word->number <= 2147483647.0) || floor(word->number) != word->number) return false;
    if (!st_map_put(&table->words, word->key, (int32_t)word->number)) return false;
  }
  table->word_count = words->count;
  table->unknown = -1;
  if (st_get(table->json, "unknown")) {
    if (!st_whole(table->json, "unknown", 0, 2147483647.0, -1, &unknown)) return false;
    table->unknown = (int64_t)unknown;
  }
  if (!others) return true;
  return st_whole(table->json, "first", 0, 2147483647.0, -1, &table->first) && st_read_bins(others, &table->hash) &&
         table->first + table->hash.bins <= 2147483647u;
}

static bool st_read_texts(st_table *table) {
  const st_json *standardize = st_get(table->json, "standardize"), *split = st_get(table->json, "split"), *ngrams = st_get(table->json, "ngrams");
  const st_json *cut = st_get(table->json, "cut");
  const char *how = standardize ? standardize->text : "", *by = split ? split->text : "";
  if (!how || !by || !cut || (cut->kind != ST_TRUE && cut->kind != ST_FALSE)) return false;
  table->cut = cut->kind == ST_TRUE;
  bool both = !strcmp(how, "lower_and_strip_punctuation");
  table->lower = both || !strcmp(how, "lower");
  table->strip = both || !strcmp(how, "strip_punctuation");
  table->split = !strcmp(by, "whitespace") ? ST_BLANKS : !strcmp(by, "character") ? ST_CHARACTERS : ST_WHOLE;
  if ((standardize && !table->lower && !table->strip) || (split && table->split == ST_WHOLE)) return false;
  if (ngrams && (ngrams->kind != ST_LIST || !ngrams->count || ngrams->count > ST_MAX_NGRAM)) return false;
  for (const st_json *size = ngrams ? ngrams->first : NULL; size; size = size->next) {
    if (size->kind != ST_NUMBER || !(size->number >= 1 && size->number <= ST_MAX_NGRAM) || floor(size->number) != size->number) return false;
    table->ngrams[table->ngram_count++] = (size_t)size->number;
  }
  return !st_get(table->json, "length") || st_whole(table->json, "length", 1, 65536, -1, &table->length);
}

/* The table of an associated file; NULL where it is none, or there is no memory. */
static st_table *st_read_table(const st_file *file) {
  st_table *table = file ? st_calloc(1, sizeof *table) : NULL;
  if (!table) return NULL;
  table->json = st_json_parse(file->data, file->size);
  const char *kind = st_text(table->json, "kind", "");
  size_t version;
  table->kind = !strcmp(kind, "text") ? ST_TEXTS : !strcmp(kind, "hash") ? ST_HASHES : ST_WORDS;
  bool good = st_whole(table->json, "version", 1, 1, -1, &version) && (table->kind != ST_WORDS || !strcmp(kind, "lookup"));
  good = good && (table->kind == ST_HASHES ? st_read_bins(table->json, &table->hash) : st_read_words(table));
  if (good && (table->kind != ST_TEXTS || st_read_texts(table))) return table;
  st_table_free(table);
  return NULL;
}

static uint64_t st_bin(const st_bins *hash, const char *text) {
  bool reserved = hash->masked && hash->bins > 1;
  if (reserved && !strcmp(text, hash->masked)) return 0;
  const unsigned char *p = (const unsigned char *)text;
  uint64_t h = hash->keyed ? st_siphash24(p, strlen(text), hash->key) : st_fingerprint64(p, strlen(text));
  return h % (hash->bins - reserved) + reserved;
}

static streaming_code st_string_id(const st_table *table, const char *name, const char *text, st_ids *ids) {
  int64_t id = table->kind == ST_HASHES ? -1 : st_map_get(&table->words, text, -1);
  if (id < 0) id = table->unknown;
  if (table->kind == ST_HASHES || (id < 0 && table->hash.bins)) id = (int64_t)(table->first + st_bin(&table->hash, text));
  if (id < 0) return st_fail(STREAMING_INPUT, "input %.80s holds '%.60s', which is none of the %zu words it takes", name, text, table->word_count);
  return st_push(ids, (int32_t)id) ? STREAMING_OK : st_no_memory();
}

/* The tokens of a text, each ended by a zero, one after the other in a buffer; false where there is no memory. */
static bool st_tokens(const st_table *table, const char *text, st_buffer *tokens, size_t *count) {
  static const char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  bool good = true, open = table->split == ST_WHOLE;
  *count = 0;
  for (const char *p = text; good && *p; p++) {
    char c = table->lower && *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    if (table->strip && strchr(punctuation, c)) continue;
    bool blank = table->split == ST_BLANKS && (c == ' ' || (c >= 9 && c <= 13)), within = ((unsigned char)c & 0xc0) == 0x80;
    bool ends = open && (blank || (table->split == ST_CHARACTERS && !within));
    if (ends) good = st_append(tokens, "", 1), (*count)++, open = false;
    if (!blank && good) good = st_append(tokens, &c, 1), open = true;
  }
  if (good && open) good = st_append(tokens, "", 1), (*count)++;
  return good;
}

static streaming_code st_text_tokens(const st_table *table, const char *name, const char *text, st_ids *ids) {
  st_buffer tokens = {0}, run = {0};
  size_t count = 0, i = 0;
  bool good = st_append(&tokens, "", 0) && st_tokens(table, text, &tokens, &count);
  const char **starts = good ? st_malloc((count + 1) * sizeof *starts) : NULL;
  streaming_code code = starts ? STREAMING_OK : st_no_memory();
  for (const char *p = tokens.data; starts && i < count; p += strlen(p) + 1) starts[i++] = p;
  for (size_t k = 0; code == STREAMING_OK && k < (table->ngram_count ? table->ngram_count : 1); k++) {
    size_t size = table->ngram_count ? table->ngrams[k] : 1;
    for (size_t from = 0; code == STREAMING_OK && from + size <= count; from++) {
      run.size = 0;
      good = true;
      for (size_t j = 0; good && j < size; j++) good = (j == 0 || st_append(&run, " ", 1)) && st_append(&run, starts[from + j], strlen(starts[from + j]));
      code = good ? st_string_id(table, name, run.data, ids) : st_no_memory();
    }
  }
  free((void *)starts);
  st_drop(&tokens);
  st_drop(&run);
  return code;
}

/* The ids of strings, as the steps of an input of that name take them, one after the other. */
static streaming_code st_strings_encode(const st_table *table, const char *name, const char *const *texts, size_t count, st_ids *ids) {
  for (size_t i = 0; i < count; i++) {
    uint32_t *points;
    size_t length, before = ids->count;
    bool good = texts[i] && st_decode(texts[i], &points, &length);
    if (texts[i]) free(points);
    if (!good) return st_fail(STREAMING_INPUT, "input %.80s has a text that is NULL or no UTF-8; convert it", name);
    if (table->kind != ST_TEXTS) {
      ST_TRY(st_string_id(table, name, texts[i], ids));
      continue;
    }
    ST_TRY(st_text_tokens(table, name, texts[i], ids));
    if (!table->length) continue;
    length = ids->count - before;
    if (length > table->length && !table->cut)
      return st_fail(STREAMING_INPUT, "input %.80s has a text of %zu tokens, expected at most %zu; shorten it, or convert the model with a larger max_length",
                     name, length, table->length);
    if (length > table->length) ids->count = before + table->length;
    while (ids->count < before + table->length)
      if (!st_push(ids, 0)) return st_no_memory();
  }
  return STREAMING_OK;
}
