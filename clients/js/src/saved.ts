/** The bytes of a saved stream: "RZST", version, a JSON header, packs, what waits, SHA-256. */

import { equal, sha256 } from "./bytes.js";
import type { Core } from "./core.js";
import { KINDS } from "./dtypes.js";
import { fail } from "./errors.js";

export type Closed = "" | "finished" | "closed" | "without its source";

interface Header {
  closed: Closed;
  /** Whether held steps come after the packs. */
  held: boolean;
  nan: "raise" | "pass";
  position: number;
  waiting: number;
}

const VERSION = 1, HEAD = 10, DIGEST = 32;
const CLOSED: readonly Closed[] = ["", "finished", "closed", "without its source"];

function checkExternal(core: Core, what: string): void {
  if (core.metadata.internal) fail("state", `cannot ${what}: the model keeps its state inside the interpreter; convert it with state='external'`);
}

/** The bytes of a stream; `packs` and `held`: raw values, in the order of the metadata. */
export function packed(core: Core, header: Header, packs: () => Uint8Array[], held: Uint8Array[]): Uint8Array {
  checkExternal(core, "save");
  const text = new TextEncoder().encode(JSON.stringify({ fingerprint: core.metadata.fingerprint, ...header }));
  const head = new Uint8Array(HEAD), view = new DataView(head.buffer);
  head.set(new TextEncoder().encode("RZST"));
  view.setUint16(4, VERSION, true);
  view.setUint32(6, text.length, true);
  const parts: Uint8Array[] = [head, text, ...packs(), ...held];
  const body = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0) + DIGEST);
  const end = parts.reduce((at, part) => (body.set(part, at), at + part.length), 0);
  body.set(sha256(body.subarray(0, end)), end);
  return body;
}

function bad(why: string): never {
  return fail("blob", `the saved stream ${why}; save it again`);
}

/** What the bytes of a stream hold, checked. */
export function unpacked(core: Core, saved: Uint8Array | ArrayBuffer): Omit<Header, "held"> & { packs: Uint8Array[]; held: Uint8Array[]; hasHeld: boolean } {
  checkExternal(core, "restore");
  const meta = core.metadata;
  if (!(saved instanceof Uint8Array) && !(saved instanceof ArrayBuffer)) fail("argument", "the saved stream is no bytes; give what save gave");
  const data = saved instanceof ArrayBuffer ? new Uint8Array(saved) : saved;
  const { header, begin } = read(core, data);
  const packs = meta.packs.map((pack) => pack.size * KINDS[pack.dtype].bytes);
  const held = meta.inputs.map((info) => (header.held ? info.bytes * (info.time ? header.waiting : 1) : 0));
  let at = begin;
  const [first, second] = [packs, held].map((sizes) => sizes.map((size) => data.subarray(at, (at += size))));
  if (at !== data.length - DIGEST) bad("holds another number of bytes than this model");
  return { ...header, packs: first, held: second, hasHeld: header.held };
}

function read(core: Core, data: Uint8Array): { header: Header; begin: number } {
  const meta = core.metadata;
  if (data.length < HEAD + DIGEST || new TextDecoder("latin1").decode(data.subarray(0, 4)) !== "RZST") {
    fail("blob", `${data.length} bytes are no saved stream; give all of them`);
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length), version = view.getUint16(4, true), length = view.getUint32(6, true);
  if (version !== VERSION) fail("version", `the stream was saved by format ${version}, this client reads ${VERSION}; use what saved it`);
  if (!equal(sha256(data.subarray(0, -DIGEST)), data.subarray(-DIGEST)) || length > data.length - HEAD - DIGEST) bad("is truncated or damaged");
  let found: Record<string, unknown>;
  try {
    found = JSON.parse(new TextDecoder().decode(data.subarray(HEAD, HEAD + length)));
  } catch {
    bad("has no sound header");
  }
  const { closed, fingerprint, held, nan, position, waiting } = found ?? {};
  if (typeof fingerprint === "string" && fingerprint !== meta.fingerprint) {
    fail("blob", `the stream was saved from model ${fingerprint.slice(0, 12)}, this is ${meta.fingerprint.slice(0, 12)}; restore it with the file that it was saved from`);
  }
  const isNumber = (value: unknown, most: number) => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most;
  const sound =
    typeof fingerprint === "string" &&
    CLOSED.includes(closed as Closed) &&
    typeof held === "boolean" &&
    (nan === "raise" || nan === "pass") &&
    isNumber(position, Number.MAX_SAFE_INTEGER) &&
    isNumber(waiting, meta.unit - 1) &&
    (held || waiting === 0) &&
    !(closed === "without its source" && !meta.encode) &&
    !(closed === "" && meta.lead && position === 0 && waiting === 0);
  if (!sound) bad("has no sound header");
  return { header: { closed, held, nan, position, waiting } as Header, begin: HEAD + length };
}
