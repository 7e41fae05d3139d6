/** Hashes of strings: FarmHash's Fingerprint64 (github.com/google/farmhash), SipHash-2-4 (Aumasson and Bernstein 2012). */

const K0 = 0xc3a5c85c97cb3127n, K1 = 0xb492b66fbe98f273n, K2 = 0x9ae16a3b2f90404fn;

const low = (value: bigint): bigint => BigInt.asUintN(64, value);
const right = (value: bigint, bits: bigint): bigint => ((value = low(value)), low((value >> bits) | (value << (64n - bits))));
const left = (value: bigint, bits: bigint): bigint => right(value, 64n - bits);
const mixed = (value: bigint): bigint => ((value = low(value)), value ^ (value >> 47n));

function word(text: Uint8Array, place: number, size = 8): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(text[place + i] ?? 0);
  return value;
}

function pair(u: bigint, v: bigint, factor: bigint): bigint {
  const a = mixed(low(u ^ v) * factor), b = mixed(low(low(v) ^ a) * factor);
  return low(b * factor);
}

function upTo16(text: Uint8Array): bigint {
  const size = BigInt(text.length), factor = K2 + 2n * size;
  if (text.length >= 8) {
    const a = word(text, 0) + K2, b = word(text, text.length - 8);
    return pair(right(b, 37n) * factor + a, (right(a, 25n) + b) * factor, factor);
  }
  if (text.length >= 4) return pair(size + (word(text, 0, 4) << 3n), word(text, text.length - 4, 4), factor);
  if (!text.length) return K2;
  const y = BigInt(text[0] + (text[text.length >> 1] << 8)), z = size + BigInt(text[text.length - 1] << 2);
  return low(mixed((y * K2) ^ (z * K0)) * K2);
}

function upTo64(text: Uint8Array): bigint {
  const size = text.length, factor = K2 + 2n * BigInt(size);
  const a = low(word(text, 0) * (size > 32 ? K2 : K1)), b = word(text, 8), c = word(text, size - 8) * factor, d = word(text, size - 16) * K2;
  const y = right(a + b, 43n) + right(c, 30n) + d, z = pair(y, a + right(b + K2, 18n) + c, factor);
  if (size <= 32) return z;
  const e = word(text, 16) * factor, f = word(text, 24);
  const g = (y + word(text, size - 32)) * factor, h = (z + word(text, size - 24)) * factor;
  return pair(right(e + f, 43n) + right(g, 30n) + h, e + right(f + a, 18n) + g, factor);
}

function weak(text: Uint8Array, place: number, a: bigint, b: bigint): [bigint, bigint] {
  const [w, x, y, z] = [0, 8, 16, 24].map((offset) => word(text, place + offset));
  a = low(a + w);
  b = right(b + a + z, 21n);
  const c = a;
  a = low(a + x + y);
  return [low(a + z), low(b + right(a, 44n) + c)];
}

function longer(text: Uint8Array): bigint {
  let y = low(81n * K1 + 113n), z = low(mixed(y * K2 + 113n) * K2), x = low(81n * K2 + word(text, 0));
  let v: [bigint, bigint] = [0n, 0n], w: [bigint, bigint] = [0n, 0n];
  // The factor of the sums, and that of the carried halves.
  const mix = (place: number, factor: bigint, times: bigint) => {
    x = low(right(x + y + v[0] + word(text, place + 8), 37n) * factor) ^ low(w[1] * times);
    y = low(low(right(y + v[1] + word(text, place + 48), 42n) * factor) + v[0] * times + word(text, place + 40));
    z = low(right(z + w[0], 33n) * factor);
    v = weak(text, place, low(v[1] * factor), x + w[0]);
    w = weak(text, place + 32, z + w[1], y + word(text, place + 16));
    [x, z] = [z, x];
  };
  const last = Math.floor((text.length - 1) / 64) * 64, rest = (text.length - 1) & 63;
  for (let place = 0; place < last; place += 64) mix(place, K1, 1n);
  const factor = K1 + ((z & 255n) << 1n), first = w[0] + BigInt(rest);
  v = [low(v[0] + first), v[1]];
  w = [low(first + v[0]), w[1]];
  mix(last + rest - 63, factor, 9n);
  return pair(pair(v[0], w[0], factor) + mixed(y) * K0 + z, pair(v[1], w[1], factor) + x, factor);
}

/** FarmHash's Fingerprint64 of a string, a number of 64 bits. */
export function fingerprint64(text: Uint8Array): bigint {
  return text.length <= 16 ? upTo16(text) : text.length <= 64 ? upTo64(text) : longer(text);
}

/** SipHash-2-4 of a string, with a key of two numbers of 64 bits. */
export function siphash24(text: Uint8Array, key: readonly [bigint, bigint]): bigint {
  const [k0, k1] = key.map(low);
  let a = k0 ^ 0x736f6d6570736575n, b = k1 ^ 0x646f72616e646f6dn, c = k0 ^ 0x6c7967656e657261n, d = k1 ^ 0x7465646279746573n;
  const rounds = (count: number) => {
    for (; count; count--) {
      a = low(a + b);
      c = low(c + d);
      b = left(b, 13n) ^ a;
      d = left(d, 16n) ^ c;
      a = low(left(a, 32n) + d);
      c = low(c + b);
      b = left(b, 17n) ^ c;
      d = left(d, 21n) ^ a;
      c = left(c, 32n);
    }
  };
  const end = Math.floor(text.length / 8) * 8;
  for (let place = 0; place <= end; place += 8) {
    const item = place < end ? word(text, place) : word(text.subarray(end), 0) | (BigInt(text.length & 255) << 56n);
    d ^= item;
    rounds(2);
    a ^= item;
  }
  c ^= 255n;
  rounds(4);
  return a ^ b ^ c ^ d;
}
