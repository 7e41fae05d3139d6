/* Characters, words and texts as ids. */
#include "unicode.h"

#define ST_IN(name, c) st_in_ranges(st_##name##_ranges, sizeof st_##name##_ranges / sizeof *st_##name##_ranges, c)

static bool st_in_ranges(const uint32_t (*ranges)[2], size_t count, uint32_t c) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (c > ranges[middle][1])
      low = middle + 1;
    else
      high = middle;
  }
  return low < count && c >= ranges[low][0];
}

static bool st_is_word(uint32_t c) { return c == '_' || ST_IN(alnum, c); }

/* Code points of a UTF-8 text; false where it is none. */
static bool st_decode(const char *text, uint32_t **points, size_t *count) {
  size_t length = strlen(text);
  uint32_t *found = st_malloc((length + 1) * sizeof *found);
  *count = 0;
  *points = found;
  if (!found) return false;
  const unsigned char *p = (const unsigned char *)text;
  while (*p) {
    int more = *p < 0x80 ? 0 : *p < 0xc2 ? -1 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : *p < 0xf5 ? 3 : -1;
    if (more < 0) return false;
    uint32_t c = more == 0 ? *p : *p & (0x3fu >> more);
    p++;
    for (int i = 0; i < more; i++, p++) {
      if ((*p & 0xc0) != 0x80) return false;
      c = c << 6 | (*p & 0x3f);
    }
    if ((more == 2 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) || (more == 3 && (c < 0x10000 || c > 0x10ffff))) return false;
    found[(*count)++] = c;
  }
  return true;
}

static uint32_t st_lower_one(uint32_t c) {
  size_t low = 0, high = sizeof st_lower_runs / sizeof *st_lower_runs;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if ((int64_t)c > st_lower_runs[middle][1])
      low = middle + 1;
    else
      high = middle;
  }
  if (low == sizeof st_lower_runs / sizeof *st_lower_runs) return c;
  const int32_t *run = st_lower_runs[low];
  int64_t offset = (int64_t)c - run[0];
  return offset >= 0 && offset % run[2] == 0 ? (uint32_t)((int64_t)c + run[3]) : c;
}

/* A sigma is final after a letter and before none, marks that have no case left aside. */
static bool st_final_sigma(const uint32_t *points, size_t count, size_t place) {
  size_t i = place;
  while (i > 0 && ST_IN(ignorable, points[i - 1])) i--;
  if (i == 0 || !ST_IN(cased, points[i - 1])) return false;
  for (i = place + 1; i < count && ST_IN(ignorable, points[i]); i++) {
  }
  return i == count || !ST_IN(cased, points[i]);
}

/* Lower case by Unicode's full mapping, in new memory. */
static uint32_t *st_lower(const uint32_t *points, size_t count, size_t *length) {
  uint32_t *found = st_malloc((2 * count + 1) * sizeof *found);
  size_t n = 0;
  for (size_t i = 0; found && i < count; i++) {
    if (points[i] == 0x130) {
      found[n++] = 'i';
      found[n++] = 0x307;
    } else if (points[i] == 0x3a3 && st_final_sigma(points, count, i)) {
      found[n++] = 0x3c2;
    } else {
      found[n++] = st_lower_one(points[i]);
    }
  }
  *length = n;
  return found;
}

/* Strings to numbers: open addressing over texts that somebody else keeps. */
typedef struct st_map {
  const char **keys;
  int32_t *values;
  size_t slots;
} st_map;

static uint32_t st_hash(const char *text) {
  uint32_t h = 2166136261u;
  for (; *text; text++) h = (h ^ (unsigned char)*text) * 16777619u;
  return h;
}

static bool st_map_make(st_map *map, size_t count) {
  map->slots = 16;
  while (map->slots < 2 * count + 1) map->slots *= 2;
  map->keys = st_calloc(map->slots, sizeof *map->keys);
  map->values = st_calloc(map->slots, sizeof *map->values);
  return map->keys && map->values;
}

static void st_map_free(st_map *map) {
  free(map->keys);
  free(map->values);
}

static size_t st_map_place(const st_map *map, const char *key) {
  size_t place = st_hash(key) & (map->slots - 1);
  while (map->keys[place] && strcmp(map->keys[place], key)) place = (place + 1) & (map->slots - 1);
  return place;
}

static bool st_map_put(st_map *map, const char *key, int32_t value) {
  size_t place = st_map_place(map, key);
  if (map->keys[place]) return false;
  map->keys[place] = key;
  map->values[place] = value;
  return true;
}

static int32_t st_map_get(const st_map *map, const char *key, int32_t otherwise) {
  size_t place = st_map_place(map, key);
  return map->keys[place] ? map->values[place] : otherwise;
}

/* A file with an entry a line. */
typedef struct st_lines {
  char *text;
  const char **items;
  size_t count;
} st_lines;

static void st_lines_free(st_lines *lines) {
  free(lines->text);
  free((void *)lines->items);
}

static streaming_code st_lines_read(st_lines *lines, const st_file *file, const char *name) {
  if (!file) return st_fail(STREAMING_FILE, "the task needs %s, which the file does not hold; export the model anew", name);
  if (memchr(file->data, 0, file->size)) return st_fail(STREAMING_FILE, "%s is no text; export the model anew", name);
  size_t count = 1;
  for (size_t i = 0; i < file->size; i++) count += file->data[i] == '\n';
  lines->text = st_malloc(file->size + 1);
  lines->items = st_malloc(count * sizeof *lines->items);
  if (!lines->text || !lines->items) return st_no_memory();
  memcpy(lines->text, file->data, file->size);
  lines->text[file->size] = 0;
  for (char *line = lines->text; line; lines->count++) {
    lines->items[lines->count] = line;
    char *end = strchr(line, '\n');
    if (end) *end++ = 0;
    line = end;
  }
  if (!*lines->items[lines->count - 1]) lines->count--;
  return STREAMING_OK;
}

/* The word encoder of a file. */
typedef struct st_words {
  st_lines lines[3]; /* words, chars, affixes */
  st_map ids[3];
  size_t longest;
  bool used[3];
} st_words;

static const char *const st_word_inputs[3] = {"words", "chars", "affixes"};
#define ST_AFFIXES 8

static void st_words_free(st_words *words) {
  if (!words) return;
  for (int i = 0; i < 3; i++) {
    st_lines_free(&words->lines[i]);
    st_map_free(&words->ids[i]);
  }
  free(words);
}

static const st_file *st_find_file(const st_file *files, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (!strcmp(files[i].name, name)) return &files[i];
  return NULL;
}

static streaming_code st_words_fill(st_words *words, const st_file *files, size_t count) {
  const st_file *file = st_find_file(files, count, "features.json");
  st_json *settings = file ? st_json_parse(file->data, file->size) : NULL;
  const st_json *inputs = st_list(settings, "inputs");
  bool good = inputs && st_whole(settings, "max_word_length", 2, 4096, -1, &words->longest);
  for (const st_json *item = good ? inputs->first : NULL; item; item = item->next) {
    int i = 0;
    while (i < 3 && (item->kind != ST_STRING || strcmp(item->text, st_word_inputs[i]))) i++;
    if (i == 3)
      good = false;
    else
      words->used[i] = true;
  }
  st_json_free(settings);
  if (!good) return st_fail(STREAMING_FILE, "features.json is absent or damaged; export the model anew");
  for (int i = 0; i < 3; i++) {
    char name[16];
    snprintf(name, sizeof name, "%s.txt", st_word_inputs[i]);
    ST_TRY(st_lines_read(&words->lines[i], st_find_file(files, count, name), name));
    if (!st_map_make(&words->ids[i], words->lines[i].count)) return st_no_memory();
    for (size_t k = 0; k < words->lines[i].count; k++)
      if (!st_map_put(&words->ids[i], words->lines[i].items[k], (int32_t)k + 2))
        return st_fail(STREAMING_FILE, "%s repeats an entry; export the model anew", name);
  }
  return STREAMING_OK;
}

static bool st_points_text(st_buffer *out, const uint32_t *points, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char piece[4];
    if (!st_append(out, piece, st_utf8(points[i], piece))) return false;
  }
  return st_append(out, "", 0);
}

static bool st_affix(const st_words *words, st_buffer *text, const char *head, const uint32_t *points, size_t count, int32_t *id) {
  text->size = 0;
  if (!st_append(text, head, strlen(head)) || !st_points_text(text, points, count)) return false;
  *id = st_map_get(&words->ids[2], text->data, 1);
  return true;
}

static bool st_affix_ids(const st_words *words, const uint32_t *points, size_t count, const uint32_t *low, size_t length, int32_t *ids) {
  static const char *const ends[4] = {"-1", "-2", "-3", "-4"}, *const begins[3] = {"+1", "+2", "+3"};
  uint32_t *plain = st_malloc((length + 1) * sizeof *plain), shape[10];
  st_buffer text = {0};
  size_t n = 0, kinds = 0;
  bool good = plain != NULL;
  for (size_t i = 0; good && i < length; i++) {
    bool digit = ST_IN(decimal, low[i]);
    if (!digit || i == 0 || !ST_IN(decimal, low[i - 1])) plain[n++] = digit ? '0' : low[i];
  }
  uint32_t last = 0;
  for (size_t i = 0; i < count && kinds < 10; i++) {
    uint32_t c = points[i], kind = ST_IN(upper, c) ? 'X' : ST_IN(alpha, c) ? 'x' : ST_IN(digit, c) ? 'd' : c;
    if (kinds == 0 || kind != last) shape[kinds++] = kind;
    last = kind;
  }
  for (size_t k = 1; good && k <= 4; k++)
    good = st_affix(words, &text, ends[k - 1], plain + (n > k ? n - k : 0), n > k ? k : n, &ids[k - 1]);
  for (size_t k = 1; good && k <= 3; k++) good = st_affix(words, &text, begins[k - 1], plain, n > k ? k : n, &ids[3 + k]);
  good = good && st_affix(words, &text, "=", shape, kinds, &ids[7]);
  st_drop(&text);
  free(plain);
  return good;
}

/* Ids of a word for the input number `input`; count gets how many. */
static streaming_code st_word_encode(const st_words *words, const char *word, int input, int32_t *ids, size_t *count) {
  uint32_t *points, *low = NULL;
  size_t n, length = 0;
  bool good = st_decode(word, &points, &n);
  if (!good || !n) {
    free(points);
    return st_fail(STREAMING_INPUT, "a word is UTF-8 text that is not empty; give one");
  }
  low = st_lower(points, n, &length);
  good = low != NULL;
  if (good && input == 0) {
    st_buffer text = {0};
    good = st_points_text(&text, low, length);
    *count = 1;
    if (good) ids[0] = st_map_get(&words->ids[0], text.data, 1);
    st_drop(&text);
  } else if (good && input == 1) {
    size_t size = words->longest, head = n <= size ? n : size / 2;
    *count = size;
    for (size_t i = 0; i < size; i++) {
      size_t place = i < head ? i : n - size + i;
      char text[5] = {0};
      if (n > size || i < n) st_utf8(points[place], text);
      ids[i] = *text ? st_map_get(&words->ids[1], text, 1) : 0;
    }
  } else if (good) {
    *count = ST_AFFIXES;
    good = st_affix_ids(words, points, n, low, length, ids);
  }
  free(points);
  free(low);
  return good ? STREAMING_OK : st_no_memory();
}

/* Running text. */
typedef struct st_codec {
  st_json *tree;
  const char **entries;
  size_t count;
  st_map ids, ranks; /* of a merge: its two halves with a zero-width mark between */
  st_buffer pairs;
  bool characters, subwords, words, lower;
} st_codec;

#define ST_SPACE "\xe2\x96\x81"
enum { ST_PAD, ST_UNKNOWN, ST_START, ST_END };

static void st_codec_free(st_codec *codec) {
  if (!codec) return;
  st_json_free(codec->tree);
  free((void *)codec->entries);
  st_map_free(&codec->ids);
  st_map_free(&codec->ranks);
  st_drop(&codec->pairs);
  free(codec);
}

static streaming_code st_codec_fill(st_codec *codec, const st_file *file, const char *name) {
  static const char *const special[4] = {"<pad>", "<unk>", "<start>", "<end>"};
  if (!file) return st_fail(STREAMING_FILE, "the task needs %s, which the file does not hold; export the model anew", name);
  codec->tree = st_json_parse(file->data, file->size);
  const st_json *entries = st_list(codec->tree, "entries"), *merges = st_list(codec->tree, "merges");
  const char *kind = st_text(codec->tree, "kind", "");
  codec->characters = !strcmp(kind, "characters");
  codec->words = !strcmp(kind, "words");
  codec->subwords = !strcmp(kind, "subwords");
  codec->lower = st_flag(codec->tree, "lower", false);
  streaming_code bad = STREAMING_OK;
  if (!entries || !merges || entries->count < 4 || !(codec->characters || codec->words || codec->subwords)) goto damaged;
  codec->entries = st_calloc(entries->count, sizeof *codec->entries);
  if (!codec->entries || !st_map_make(&codec->ids, entries->count) || !st_map_make(&codec->ranks, merges->count))
    return st_no_memory();
  for (const st_json *item = entries->first; item; item = item->next, codec->count++) {
    if (item->kind != ST_STRING || (codec->count < 4 && strcmp(item->text, special[codec->count]))) goto damaged;
    if (!st_map_put(&codec->ids, item->text, (int32_t)codec->count)) goto damaged;
    codec->entries[codec->count] = item->text;
  }
  size_t total = 0;
  for (const st_json *item = merges->first; item; item = item->next) {
    if (item->kind != ST_LIST || item->count != 2 || item->first->kind != ST_STRING || item->first->next->kind != ST_STRING)
      goto damaged;
    total += strlen(item->first->text) + strlen(item->first->next->text) + 2;
  }
  if (!st_reserve(&codec->pairs, total + 1)) return st_no_memory(); /* its texts must not move any more */
  int32_t rank = 0;
  for (const st_json *item = merges->first; item; item = item->next, rank++) {
    char *key = codec->pairs.data + codec->pairs.size;
    codec->pairs.size += (size_t)sprintf(key, "%s\x01%s", item->first->text, item->first->next->text) + 1;
    st_map_put(&codec->ranks, key, rank);
  }
  return STREAMING_OK;
damaged:
  bad = st_fail(STREAMING_FILE, "%s is damaged; export the model anew", name);
  return bad;
}

typedef struct st_ids {
  int32_t *data;
  size_t count, capacity;
} st_ids;

static bool st_push(st_ids *ids, int32_t id) {
  if (ids->count == ids->capacity) {
    size_t capacity = ids->capacity ? 2 * ids->capacity : 32;
    int32_t *data = st_realloc(ids->data, capacity * sizeof *data);
    if (!data) return false;
    ids->data = data;
    ids->capacity = capacity;
  }
  ids->data[ids->count++] = id;
  return true;
}

/* Joins neighbours by the list of merges; parts are texts that begin at places of one buffer. */
static bool st_merge(const st_codec *codec, const uint32_t *points, size_t count, st_ids *ids) {
  st_buffer text = {0}, key = {0};
  size_t *starts = st_malloc((count + 1) * sizeof *starts), parts = count;
  bool good = starts != NULL;
  for (size_t i = 0; good && i < count; i++) {
    char piece[4];
    starts[i] = text.size;
    good = st_append(&text, piece, st_utf8(points[i], piece));
  }
  if (good) starts[count] = text.size;
  while (good) {
    int32_t best = INT32_MAX;
    size_t left = 0;
    for (size_t i = 0; good && i + 1 < parts; i++) {
      key.size = 0;
      good = st_append(&key, text.data + starts[i], starts[i + 1] - starts[i]) && st_append(&key, "\x01", 1) &&
             st_append(&key, text.data + starts[i + 1], starts[i + 2] - starts[i + 1]);
      int32_t rank = good ? st_map_get(&codec->ranks, key.data, INT32_MAX) : INT32_MAX;
      if (rank < best) best = rank, left = i;
    }
    if (!good || best == INT32_MAX) break;
    size_t a = starts[left + 1] - starts[left], b = starts[left + 2] - starts[left + 1], from = starts[left], kept = 0;
    for (size_t i = 0; i < parts; i++) {
      size_t begin = starts[i];
      bool pair = i + 1 < parts && starts[i + 1] - begin == a && starts[i + 2] - starts[i + 1] == b &&
                  !memcmp(text.data + begin, text.data + from, a + b);
      starts[kept++] = begin;
      if (pair) i++;
    }
    starts[kept] = text.size;
    parts = kept;
  }
  for (size_t i = 0; good && i < parts; i++) {
    key.size = 0;
    good = st_append(&key, text.data + starts[i], starts[i + 1] - starts[i]) &&
           st_push(ids, st_map_get(&codec->ids, key.data, ST_UNKNOWN));
  }
  st_drop(&text);
  st_drop(&key);
  free(starts);
  return good;
}

static streaming_code st_text_encode(const st_codec *codec, const char *text, st_ids *ids) {
  uint32_t *points, *low = NULL;
  size_t count, n = 0;
  bool good = st_decode(text, &points, &count);
  if (!good) {
    free(points);
    return st_fail(STREAMING_INPUT, "the text is no UTF-8; convert it");
  }
  if (codec->lower) {
    low = st_lower(points, count, &n);
    free(points);
    points = low;
    count = n;
    good = low != NULL;
  }
  uint32_t *piece = good ? st_malloc((count + 2) * sizeof *piece) : NULL;
  good = piece != NULL;
  st_buffer key = {0};
  if (!codec->characters)
    while (good && count && ST_IN(space, points[count - 1])) count--;
  for (size_t i = 0; good && i < count;) {
    size_t length = 0;
    if (codec->characters) {
      piece[length++] = points[i++];
    } else {
      bool spaced = i == 0;
      for (; ST_IN(space, points[i]); i++) spaced = true;
      if (spaced) piece[length++] = 0x2581;
      bool first = true;
      while (i < count && (first || st_is_word(points[i]))) {
        uint32_t c = points[i] == 0x2581 ? '_' : points[i];
        if (!first && !st_is_word(c)) break;
        piece[length++] = c;
        i++;
        if (first && !st_is_word(c)) break;
        first = false;
        if (i < count && points[i] == 0x2581) points[i] = '_';
      }
    }
    if (codec->subwords) {
      good = st_merge(codec, piece, length, ids);
    } else {
      key.size = 0;
      good = st_points_text(&key, piece, length) && st_push(ids, st_map_get(&codec->ids, key.data, ST_UNKNOWN));
    }
  }
  st_drop(&key);
  free(piece);
  free(points);
  return good ? STREAMING_OK : st_no_memory();
}

/* The text of ids, its spaces as they are; `alone` drops white space at both ends. */
static bool st_text_of(const st_codec *codec, const int32_t *ids, size_t count, bool alone, st_buffer *out) {
  st_buffer raw = {0};
  bool good = st_append(&raw, "", 0);
  for (size_t i = 0; good && i < count; i++) {
    if (ids[i] == ST_PAD || ids[i] == ST_START || ids[i] == ST_END || (size_t)ids[i] >= codec->count) continue;
    if (ids[i] == ST_UNKNOWN && codec->words) good = st_append(&raw, ST_SPACE, 3);
    good = good && st_append(&raw, codec->entries[ids[i]], strlen(codec->entries[ids[i]]));
  }
  out->size = 0;
  good = good && st_append(out, "", 0);
  for (const char *p = raw.data; good && *p;) {
    bool space = !codec->characters && !strncmp(p, ST_SPACE, 3);
    good = space ? st_append(out, " ", 1) : st_append(out, p, 1);
    p += space ? 3 : 1;
  }
  st_drop(&raw);
  if (good && alone && !codec->characters) {
    uint32_t *points;
    size_t n, begin = 0;
    if (st_decode(out->data, &points, &n)) {
      while (n && ST_IN(space, points[n - 1])) n--;
      while (begin < n && ST_IN(space, points[begin])) begin++;
      out->size = 0;
      good = st_append(out, "", 0) && st_points_text(out, points + begin, n - begin);
    }
    free(points);
  }
  return good;
}

static bool st_begins_word(const st_codec *codec, int32_t id) {
  if (codec->characters || (id == ST_UNKNOWN && codec->words)) return true;
  return !strncmp(codec->entries[id], ST_SPACE, 3);
}

static bool st_begins_unit(const st_codec *codec, int32_t id) {
  if (st_begins_word(codec, id)) return true;
  uint32_t *points;
  size_t n;
  bool good = st_decode(codec->entries[id], &points, &n), word = good && n && st_is_word(points[0]);
  free(points);
  return !word;
}
