/* SHA-256 (FIPS 180-4), inflate (RFC 1951), and the files of a zip. */

typedef struct st_sha {
  uint32_t state[8];
  uint64_t total;
  unsigned char block[64];
} st_sha;

static const uint32_t st_sha_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
    0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
    0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
    0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t st_turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void st_sha_block(st_sha *sha, const unsigned char *block) {
  uint32_t w[64], s[8];
  for (int i = 0; i < 16; i++)
    w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    uint32_t a = st_turn(w[i - 15], 7) ^ st_turn(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t b = st_turn(w[i - 2], 17) ^ st_turn(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + a + w[i - 7] + b;
  }
  memcpy(s, sha->state, sizeof s);
  for (int i = 0; i < 64; i++) {
    uint32_t e = st_turn(s[4], 6) ^ st_turn(s[4], 11) ^ st_turn(s[4], 25);
    uint32_t x = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + st_sha_constants[i] + w[i];
    uint32_t a = st_turn(s[0], 2) ^ st_turn(s[0], 13) ^ st_turn(s[0], 22);
    uint32_t y = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    for (int k = 7; k > 0; k--) s[k] = s[k - 1];
    s[4] += x;
    s[0] = x + y;
  }
  for (int i = 0; i < 8; i++) sha->state[i] += s[i];
}

static void st_sha256(const void *data, size_t size, unsigned char digest[32]) {
  st_sha sha = {{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, 0, {0}};
  const unsigned char *bytes = data;
  size_t left = size;
  for (; left >= 64; bytes += 64, left -= 64) st_sha_block(&sha, bytes);
  if (left) memcpy(sha.block, bytes, left);
  sha.block[left] = 0x80;
  if (left >= 56) {
    st_sha_block(&sha, sha.block);
    memset(sha.block, 0, 64);
  }
  for (int i = 0; i < 8; i++) sha.block[56 + i] = (unsigned char)((uint64_t)size * 8 >> (56 - 8 * i));
  st_sha_block(&sha, sha.block);
  for (int i = 0; i < 32; i++) digest[i] = (unsigned char)(sha.state[i / 4] >> (24 - 8 * (i % 4)));
}

static void st_sha256_hex(const void *data, size_t size, char text[65]) {
  unsigned char digest[32];
  st_sha256(data, size, digest);
  for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static uint32_t st_u16(const unsigned char *p) { return (uint32_t)(p[0] | p[1] << 8); }
static uint32_t st_u32(const unsigned char *p) { return st_u16(p) | st_u16(p + 2) << 16; }

/* Deflated bytes in, exactly `expected` bytes out; every length and distance is checked. */
typedef struct st_inflate {
  const unsigned char *in;
  size_t in_size, in_place;
  unsigned char *out;
  size_t out_size, out_place;
  uint32_t bits;
  int count;
  bool bad;
} st_inflate;

typedef struct st_huffman {
  uint16_t counts[16], symbols[288];
} st_huffman;

static int st_bits(st_inflate *s, int need) {
  while (s->count < need) {
    if (s->in_place == s->in_size) {
      s->bad = true;
      return 0;
    }
    s->bits |= (uint32_t)s->in[s->in_place++] << s->count;
    s->count += 8;
  }
  int value = (int)(s->bits & ((1u << need) - 1));
  s->bits >>= need;
  s->count -= need;
  return value;
}

static int st_symbol(st_inflate *s, const st_huffman *h) {
  int code = 0, first = 0, index = 0;
  for (int length = 1; length < 16; length++) {
    code |= st_bits(s, 1);
    int count = h->counts[length];
    if (s->bad) return 0;
    if (code - count < first) return h->symbols[index + code - first];
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  s->bad = true;
  return 0;
}

static bool st_codes(st_huffman *h, const unsigned char *lengths, int count) {
  uint16_t offsets[16];
  int left = 1;
  memset(h->counts, 0, sizeof h->counts);
  for (int i = 0; i < count; i++) h->counts[lengths[i]]++;
  for (int i = 1; i < 16; i++) {
    left = (left << 1) - h->counts[i];
    if (left < 0) return false;
  }
  offsets[1] = 0;
  for (int i = 1; i < 15; i++) offsets[i + 1] = (uint16_t)(offsets[i] + h->counts[i]);
  for (int i = 0; i < count; i++)
    if (lengths[i]) h->symbols[offsets[lengths[i]]++] = (uint16_t)i;
  h->counts[0] = 0;
  return true;
}

static bool st_block_data(st_inflate *s, const st_huffman *lengths, const st_huffman *distances) {
  static const uint16_t base[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint16_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  static const uint16_t far[30] = {1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  for (;;) {
    int symbol = st_symbol(s, lengths);
    if (s->bad) return false;
    if (symbol == 256) return true;
    if (symbol < 256) {
      if (s->out_place == s->out_size) return false;
      s->out[s->out_place++] = (unsigned char)symbol;
      continue;
    }
    if (symbol > 285) return false;
    size_t length = (size_t)(base[symbol - 257] + st_bits(s, extra[symbol - 257]));
    int code = st_symbol(s, distances);
    if (s->bad || code > 29) return false;
    size_t distance = (size_t)(far[code] + st_bits(s, code < 2 ? 0 : code / 2 - 1));
    if (s->bad || distance > s->out_place || length > s->out_size - s->out_place) return false;
    for (; length; length--, s->out_place++) s->out[s->out_place] = s->out[s->out_place - distance];
  }
}

static bool st_dynamic(st_inflate *s) {
  static const unsigned char order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  unsigned char lengths[320] = {0};
  st_huffman codes, distances;
  int literals = st_bits(s, 5) + 257, far = st_bits(s, 5) + 1, count = st_bits(s, 4) + 4;
  if (s->bad || literals > 286 || far > 30) return false;
  for (int i = 0; i < count; i++) lengths[order[i]] = (unsigned char)st_bits(s, 3);
  if (s->bad || !st_codes(&codes, lengths, 19)) return false;
  memset(lengths, 0, sizeof lengths);
  for (int i = 0; i < literals + far;) {
    int symbol = st_symbol(s, &codes), times = 1, value = symbol;
    if (s->bad) return false;
    if (symbol == 16) {
      if (i == 0) return false;
      value = lengths[i - 1];
      times = 3 + st_bits(s, 2);
    } else if (symbol > 16) {
      value = 0;
      times = symbol == 17 ? 3 + st_bits(s, 3) : 11 + st_bits(s, 7);
    }
    if (s->bad || i + times > literals + far) return false;
    for (; times; times--) lengths[i++] = (unsigned char)value;
  }
  return st_codes(&codes, lengths, literals) && st_codes(&distances, lengths + literals, far) &&
         st_block_data(s, &codes, &distances);
}

static bool st_fixed(st_inflate *s) {
  unsigned char lengths[288];
  st_huffman codes, distances;
  for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  st_codes(&codes, lengths, 288);
  memset(lengths, 5, 30);
  st_codes(&distances, lengths, 30);
  return st_block_data(s, &codes, &distances);
}

static bool st_unpack(const unsigned char *in, size_t in_size, unsigned char *out, size_t expected) {
  st_inflate s = {in, in_size, 0, out, expected, 0, 0, 0, false};
  for (int last = 0; !last;) {
    last = st_bits(&s, 1);
    int kind = st_bits(&s, 2);
    if (s.bad) return false;
    if (kind == 0) {
      s.bits = 0;
      s.count = 0;
      if (s.in_size - s.in_place < 4) return false;
      size_t length = st_u16(s.in + s.in_place);
      if (length != (0xffffu ^ st_u16(s.in + s.in_place + 2))) return false;
      s.in_place += 4;
      if (length > s.in_size - s.in_place || length > s.out_size - s.out_place) return false;
      memcpy(s.out + s.out_place, s.in + s.in_place, length);
      s.in_place += length;
      s.out_place += length;
    } else if (!(kind == 1 ? st_fixed(&s) : kind == 2 && st_dynamic(&s))) {
      return false;
    }
  }
  return s.out_place == expected;
}

typedef struct st_file {
  char *name;
  unsigned char *data; /* with a zero behind it */
  size_t size;
} st_file;

static bool st_plain_name(const char *name) {
  if (!*name || strchr(name, '\\') || strchr(name, ':')) return false;
  for (const char *part = name; part;) {
    const char *end = strchr(part, '/');
    size_t length = end ? (size_t)(end - part) : strlen(part);
    if (length == 0 || (length == 1 && part[0] == '.') || (length == 2 && part[0] == '.' && part[1] == '.')) return false;
    part = end ? end + 1 : NULL;
  }
  return true;
}

static streaming_code st_bad_zip(void) {
  return st_fail(STREAMING_FILE, "the file is truncated, damaged or was not made by streaming.convert; copy or convert it again");
}

/* The files of the zip at the end, and where its first local header is. The comment has 64 bytes. */
static streaming_code st_read_zip(const unsigned char *content, size_t size, st_file *files, size_t *count, size_t *start) {
  *count = 0;
  if (size < 22 + 64) return st_bad_zip();
  const unsigned char *end = content + size - 64 - 22;
  if (st_u32(end) != 0x06054b50 || st_u16(end + 20) != 64) return st_bad_zip();
  size_t entries = st_u16(end + 10), directory = st_u32(end + 16), length = st_u32(end + 12), total = 0;
  if (!entries || entries > ST_MAX_FILES) return st_bad_zip();
  if (directory > size || length > size - directory || directory + length != size - 64 - 22) return st_bad_zip();
  const unsigned char *p = content + directory, *stop = p + length;
  *start = size;
  for (size_t i = 0; i < entries; i++) {
    if (stop - p < 46 || st_u32(p) != 0x02014b50) return st_bad_zip();
    size_t method = st_u16(p + 10), packed = st_u32(p + 20), whole = st_u32(p + 24), offset = st_u32(p + 42);
    size_t name = st_u16(p + 28), skip = 46 + name + st_u16(p + 30) + st_u16(p + 32);
    if ((size_t)(stop - p) < skip || (method != 0 && method != 8)) return st_bad_zip();
    total += whole;
    if (total > ST_MAX_ASSOCIATED || offset > directory || directory - offset < 30) return st_bad_zip();
    const unsigned char *local = content + offset;
    size_t data = offset + 30 + st_u16(local + 26) + st_u16(local + 28);
    if (st_u32(local) != 0x04034b50 || data > directory || packed > directory - data) return st_bad_zip();
    st_file *file = &files[i];
    file->name = st_calloc(1, name + 1);
    file->data = st_malloc(whole + 1);
    (*count)++;
    if (!file->name || !file->data) return st_no_memory();
    memcpy(file->name, p + 46, name);
    file->data[whole] = 0;
    file->size = whole;
    if (strlen(file->name) != name || !st_plain_name(file->name)) return st_bad_zip();
    for (size_t k = 0; k < i; k++)
      if (!strcmp(files[k].name, file->name)) return st_bad_zip();
    if (method == 0 ? packed != whole : !st_unpack(content + data, packed, file->data, whole)) return st_bad_zip();
    if (method == 0 && whole) memcpy(file->data, content + data, whole);
    if (offset < *start) *start = offset;
    p += skip;
  }
  return p == stop ? STREAMING_OK : st_bad_zip();
}
