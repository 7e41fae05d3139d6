/* JSON (RFC 8259) into a tree; strings in UTF-8, numbers as doubles. */

typedef enum st_kind { ST_NULL, ST_FALSE, ST_TRUE, ST_NUMBER, ST_STRING, ST_LIST, ST_OBJECT } st_kind;

typedef struct st_json {
  st_kind kind;
  char *key; /* of a member of an object */
  char *text;
  double number;
  const char *digits; /* of a number: where it begins in what was parsed */
  size_t count;
  struct st_json *first, *next;
} st_json;

typedef struct st_parser {
  const char *at, *end;
  int depth;
} st_parser;

#define ST_MAX_DEPTH 64

static void st_json_free(st_json *item) {
  while (item) {
    st_json *next = item->next;
    st_json_free(item->first);
    free(item->key);
    free(item->text);
    free(item);
    item = next;
  }
}

static void st_blank(st_parser *p) {
  while (p->at < p->end && strchr(" \t\r\n", *p->at) && *p->at) p->at++;
}

static size_t st_utf8(uint32_t c, char *out) {
  if (c < 0x80) return out[0] = (char)c, 1;
  if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000) {
    out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)), out[2] = (char)(0x80 | (c & 63));
    return 3;
  }
  out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63)), out[2] = (char)(0x80 | (c >> 6 & 63));
  out[3] = (char)(0x80 | (c & 63));
  return 4;
}

static bool st_hex4(st_parser *p, uint32_t *value) {
  *value = 0;
  if (p->end - p->at < 4) return false;
  for (int i = 0; i < 4; i++) {
    char c = *p->at++;
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return false;
    *value = *value << 4 | (uint32_t)digit;
  }
  return true;
}

static char *st_json_string(st_parser *p) {
  st_buffer out = {0};
  p->at++; /* the quote */
  if (!st_append(&out, "", 0)) return NULL;
  while (p->at < p->end && *p->at != '"') {
    char piece[4] = {*p->at++};
    size_t length = 1;
    if ((unsigned char)piece[0] < 32) goto bad;
    if (piece[0] == '\\') {
      if (p->at == p->end) goto bad;
      char c = *p->at++;
      const char *from = "\"\\/bfnrt", *to = "\"\\/\b\f\n\r\t", *found = c ? strchr(from, c) : NULL;
      uint32_t point, low;
      if (found) {
        piece[0] = to[found - from];
      } else if (c == 'u' && st_hex4(p, &point)) {
        if (point >= 0xd800 && point < 0xdc00) {
          if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u') goto bad;
          p->at += 2;
          if (!st_hex4(p, &low) || low < 0xdc00 || low > 0xdfff) goto bad;
          point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        } else if (point >= 0xdc00 && point < 0xe000) {
          goto bad;
        }
        if (!point) goto bad;
        length = st_utf8(point, piece);
      } else {
        goto bad;
      }
    }
    if (!st_append(&out, piece, length)) goto bad;
  }
  if (p->at == p->end) goto bad;
  p->at++;
  return out.data;
bad:
  st_drop(&out);
  return NULL;
}

static bool st_json_number(st_parser *p, double *value) {
  char text[64];
  size_t length = 0;
  while (p->at < p->end && *p->at && strchr("+-0123456789.eE", *p->at)) {
    if (length == sizeof text - 1) return false;
    text[length++] = *p->at == '.' ? localeconv()->decimal_point[0] : *p->at;
    p->at++;
  }
  text[length] = 0;
  char *end;
  *value = strtod(text, &end);
  return length && *end == 0 && isfinite(*value);
}

static st_json *st_json_value(st_parser *p) {
  st_blank(p);
  if (p->at == p->end || p->depth == ST_MAX_DEPTH) return NULL;
  st_json *item = st_calloc(1, sizeof *item);
  if (!item) return NULL;
  char c = *p->at;
  if (c == '{' || c == '[') {
    item->kind = c == '{' ? ST_OBJECT : ST_LIST;
    char close = c == '{' ? '}' : ']';
    p->at++;
    p->depth++;
    st_json **tail = &item->first;
    for (st_blank(p); p->at < p->end && *p->at != close; st_blank(p)) {
      if (item->count && *p->at++ != ',') goto bad;
      char *key = NULL;
      if (c == '{') {
        st_blank(p);
        if (p->at == p->end || *p->at != '"' || !(key = st_json_string(p))) goto bad;
        st_blank(p);
        if (p->at == p->end || *p->at++ != ':') {
          free(key);
          goto bad;
        }
      }
      st_json *child = st_json_value(p);
      if (!child) {
        free(key);
        goto bad;
      }
      child->key = key;
      *tail = child;
      tail = &child->next;
      item->count++;
    }
    if (p->at == p->end) goto bad;
    p->at++;
    p->depth--;
  } else if (c == '"') {
    item->kind = ST_STRING;
    if (!(item->text = st_json_string(p))) goto bad;
  } else {
    static const char *const words[] = {"null", "false", "true"};
    for (int i = 0; i < 3; i++) {
      size_t length = strlen(words[i]);
      if ((size_t)(p->end - p->at) >= length && !memcmp(p->at, words[i], length)) {
        item->kind = (st_kind)i;
        p->at += length;
        return item;
      }
    }
    item->kind = ST_NUMBER;
    item->digits = p->at;
    if (!st_json_number(p, &item->number)) goto bad;
  }
  return item;
bad:
  st_json_free(item);
  return NULL;
}

/* The tree, NULL where the text is no JSON. */
static st_json *st_json_parse(const void *text, size_t size) {
  st_parser p = {text, (const char *)text + size, 0};
  st_json *item = st_json_value(&p);
  st_blank(&p);
  if (item && p.at != p.end) {
    st_json_free(item);
    return NULL;
  }
  return item;
}

/* A member; NULL where it is absent or null. */
static const st_json *st_get(const st_json *object, const char *key) {
  if (!object || object->kind != ST_OBJECT) return NULL;
  for (const st_json *item = object->first; item; item = item->next)
    if (!strcmp(item->key, key)) return item->kind == ST_NULL ? NULL : item;
  return NULL;
}

static const char *st_text(const st_json *object, const char *key, const char *otherwise) {
  const st_json *item = st_get(object, key);
  return item && item->kind == ST_STRING ? item->text : otherwise;
}

static double st_number(const st_json *object, const char *key, double otherwise) {
  const st_json *item = st_get(object, key);
  return item && item->kind == ST_NUMBER ? item->number : otherwise;
}

static bool st_flag(const st_json *object, const char *key, bool otherwise) {
  const st_json *item = st_get(object, key);
  return item && (item->kind == ST_TRUE || item->kind == ST_FALSE) ? item->kind == ST_TRUE : otherwise;
}

/* A whole number between two limits; false where it is another, or of another kind. */
static bool st_whole(const st_json *object, const char *key, double low, double high, double otherwise, size_t *value) {
  const st_json *item = st_get(object, key);
  double number = item ? item->number : otherwise;
  if ((item && item->kind != ST_NUMBER) || !(number >= low && number <= high) || floor(number) != number) return false;
  *value = (size_t)number;
  return true;
}

static const st_json *st_list(const st_json *object, const char *key) {
  const st_json *item = st_get(object, key);
  return item && item->kind == ST_LIST ? item : NULL;
}
