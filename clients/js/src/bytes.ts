/** Checksums, and the zip behind a model. */

import { fail, shown } from "./errors.js";

const ROUNDS = new Uint32Array(64);
const START = new Uint32Array(8);
// The first 32 bits of the fractions of cube and square roots of primes (FIPS 180-4).
for (let candidate = 2, found = 0; found < 64; candidate++) {
  let prime = true;
  for (let i = 2; i * i <= candidate; i++) prime &&= candidate % i !== 0;
  if (!prime) continue;
  if (found < 8) START[found] = fraction(Math.sqrt(candidate));
  ROUNDS[found++] = fraction(Math.cbrt(candidate));
}

function fraction(value: number): number {
  return Math.floor((value - Math.floor(value)) * 2 ** 32);
}

function block(state: Uint32Array, words: Uint32Array): void {
  for (let i = 16; i < 64; i++) {
    const a = words[i - 15], b = words[i - 2];
    const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
    const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
    words[i] = words[i - 16] + s0 + words[i - 7] + s1;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const one = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + words[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g, g = f, f = e, e = (d + one) | 0;
    d = c, c = b, b = a, a = (one + two) | 0;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

/** SHA-256. Browsers have it on secure pages only, so it is here. */
export function sha256(data: Uint8Array): Uint8Array {
  const state = START.slice(), words = new Uint32Array(64);
  const tail = new Uint8Array((data.length % 64 < 56 ? 64 : 128));
  const whole = data.length - (data.length % 64);
  tail.set(data.subarray(whole));
  tail[data.length % 64] = 128;
  new DataView(tail.buffer).setBigUint64(tail.length - 8, BigInt(data.length) * 8n);
  for (const part of [data.subarray(0, whole), tail]) {
    const view = new DataView(part.buffer, part.byteOffset, part.length);
    for (let at = 0; at < part.length; at += 64) {
      for (let i = 0; i < 16; i++) words[i] = view.getUint32(at + 4 * i);
      block(state, words);
    }
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setUint32(4 * i, word));
  return new Uint8Array(digest.buffer);
}

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const MAX_FILES = 64, MAX_UNPACKED = 64 * 2 ** 20;
const END_SIZE = 22, COMMENT_SIZE = 64;
const DAMAGED = "the file is damaged or truncated; copy or convert it again";

export interface Archive {
  files: Map<string, Uint8Array>;
  /** Where the first local header is: the bytes before it are the model and its last entry. */
  start: number;
}

/** The zip at the end of a file; its comment is the checksum of all before it. */
export async function readZip(content: Uint8Array): Promise<Archive> {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const end = content.length - COMMENT_SIZE - END_SIZE;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50 || view.getUint16(end + 20, true) !== COMMENT_SIZE) {
    fail("file", DAMAGED);
  }
  const checksum = new TextDecoder("latin1").decode(content.subarray(-COMMENT_SIZE));
  if (hex(sha256(content.subarray(0, -COMMENT_SIZE))) !== checksum) {
    fail("file", "the file is damaged: it does not match its checksum; copy or convert it again");
  }
  const count = view.getUint16(end + 10, true), size = view.getUint32(end + 12, true);
  const shift = end - size - view.getUint32(end + 16, true);
  if (count > MAX_FILES) fail("file", `the file holds ${count} files, expected at most ${MAX_FILES}`);
  const files = new Map<string, Uint8Array>();
  let place = end - size, start = end, left = MAX_UNPACKED;
  for (let i = 0; i < count; i++) {
    if (place < 0 || place + 46 > end || view.getUint32(place, true) !== 0x02014b50) fail("file", DAMAGED);
    const entry = {
      method: view.getUint16(place + 10, true),
      packed: view.getUint32(place + 20, true),
      size: view.getUint32(place + 24, true),
      header: view.getUint32(place + 42, true) + shift,
    };
    const length = view.getUint16(place + 28, true);
    const name = new TextDecoder().decode(content.subarray(place + 46, place + 46 + length));
    place += 46 + length + view.getUint16(place + 30, true) + view.getUint16(place + 32, true);
    const plain = name !== "" && !/[\\:\0]|^\/|\/$|\/\//.test(name) && !name.split("/").some((part) => part === ".." || part === ".");
    if (!plain || files.has(name)) fail("file", `the file holds ${shown(name)}, expected plain relative names, each once`);
    left -= entry.size;
    if (left < 0) fail("file", `the file unpacks to more than ${MAX_UNPACKED} bytes`);
    start = Math.min(start, entry.header);
    files.set(name, await unpack(content, view, entry));
  }
  return { files, start };
}

interface Entry {
  method: number;
  packed: number;
  size: number;
  header: number;
}

async function unpack(content: Uint8Array, view: DataView, entry: Entry): Promise<Uint8Array> {
  const { header } = entry;
  if (header < 0 || header + 30 > content.length || view.getUint32(header, true) !== 0x04034b50) fail("file", DAMAGED);
  const begin = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const packed = content.subarray(begin, begin + entry.packed);
  if (packed.length !== entry.packed || (entry.method !== 0 && entry.method !== 8)) fail("file", DAMAGED);
  const found = entry.method === 0 ? packed : await inflate(packed, entry.size);
  return found.length === entry.size ? found : fail("file", DAMAGED);
}

async function inflate(packed: Uint8Array, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let filled = 0;
  try {
    const stream = new Blob([packed as BlobPart]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    for (const reader = stream.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return out.subarray(0, filled);
      if (filled + value.length > size) {
        await reader.cancel();
        return fail("file", DAMAGED);
      }
      out.set(value, filled);
      filled += value.length;
    }
  } catch {
    return fail("file", DAMAGED);
  }
}
