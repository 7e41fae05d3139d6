/** streaming.json: what a streaming file says about itself, checked. */

import { type DType, KINDS, isDType } from "./dtypes.js";
import { fail } from "./errors.js";
import { Table } from "./strings.js";

export const SCHEMA = 3;
const MAX_TENSORS = 64, MAX_STEPS = 2 ** 20, MAX_ELEMENTS = 2 ** 28;

type Json = Record<string, unknown>;

/** An input, an output or a source: the shape is that of one step or row. */
export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  /** The dtype at the boundary of the graph: truth values are int32 (uint8 in files of old). */
  readonly dtype: DType;
  readonly elements: number;
  readonly bytes: number;
}

export interface InputInfo extends TensorInfo {
  /** False: the value is given whole with every call. */
  readonly time: boolean;
  readonly low: number | null;
  readonly high: number | null;
  readonly scale: number | null;
  readonly zeroPoint: number;
  /** What gives the ids of strings; null: the input takes numbers. */
  readonly table: Table | null;
}

export interface OutputInfo extends TensorInfo {
  readonly scale: number | null;
  readonly zeroPoint: number;
  /** So many rows for so many steps. */
  readonly up: number;
  readonly down: number;
  readonly start: number;
  readonly end: number;
  readonly valid: string | null;
}

export interface PackInfo {
  readonly input: string;
  /** "": a context, which `encode` gives and every step reads. */
  readonly output: string;
  readonly dtype: DType;
  readonly size: number;
  readonly initial: Uint8Array | null;
}

export interface EncodeInfo {
  readonly inputs: readonly InputInfo[];
  readonly maxLength: number;
  readonly valid: ReadonlyMap<string, string>;
}

export interface Metadata {
  readonly fingerprint: string;
  readonly flatbufferBytes: number;
  readonly files: ReadonlyMap<string, string>;
  readonly signatures: ReadonlyMap<string, { batch: number; chunk: number }>;
  readonly inputs: readonly InputInfo[];
  readonly outputs: readonly OutputInfo[];
  readonly packs: readonly PackInfo[];
  readonly chunk: number;
  readonly unit: number;
  readonly delay: number;
  readonly flush: number;
  readonly valid: string | null;
  readonly flags: DType;
  readonly internal: boolean;
  readonly encode: EncodeInfo | null;
  readonly window: number | null;
  readonly hop: number;
  readonly pad: boolean;
  readonly lead: number;
  /** What the file says of its task, as it is there; null: none. */
  readonly task: Readonly<Json> | null;
}

export function wrong(what: string): never {
  return fail("file", `streaming.json: ${what} is missing or wrong; convert the model again`);
}

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A whole number of an object, or its default where it is absent or null. */
export function whole(from: Json, key: string, least: number, most: number, otherwise?: number): number {
  const value = from[key] ?? otherwise;
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) wrong(key);
  return value;
}

export function real(from: Json, key: string, otherwise: number): number {
  const value = from[key] ?? otherwise;
  return typeof value === "number" && Number.isFinite(value) ? value : wrong(key);
}

export function text(from: Json, key: string, otherwise?: string): string {
  const value = from[key] ?? otherwise;
  return typeof value === "string" ? value : wrong(key);
}

export function flag(from: Json, key: string, otherwise: boolean): boolean {
  const value = from[key] ?? otherwise;
  return typeof value === "boolean" ? value : wrong(key);
}

export function list(from: Json, key: string): unknown[] {
  const value = from[key] ?? [];
  return Array.isArray(value) ? value : wrong(key);
}

function objects(from: Json, key: string): Json[] {
  const found = list(from, key);
  return found.length <= MAX_TENSORS && found.every(isObject) ? found : wrong(key);
}

function optional(from: Json, key: string): number | null {
  return from[key] == null ? null : real(from, key, 0);
}

function tensor(item: Json, flags: DType): TensorInfo {
  const name = text(item, "name");
  const graph = isObject(item.tensor) ? item.tensor : item;
  const dtype = graph.dtype === "bool" ? flags : graph.dtype;
  if (!isDType(dtype) || name === "") wrong("the dtype or the name of a tensor");
  const shape = list(graph, "shape");
  let elements = 1;
  for (const size of shape) {
    if (typeof size !== "number" || !Number.isInteger(size) || size < 0) wrong("the shape of a tensor");
    elements *= size;
  }
  if (shape.length > 8 || elements > MAX_ELEMENTS) wrong("the shape of a tensor");
  return { name, shape: shape as number[], dtype, elements, bytes: elements * KINDS[dtype].bytes };
}

function input(item: Json, flags: DType, files: ReadonlyMap<string, Uint8Array>): InputInfo {
  const isFlag = item.dtype === "bool", graph = tensor(item, flags), time = flag(item, "time", true);
  const table = item.table == null ? null : Table.read(files.get(text(item, "table")), text(item, "table"));
  if (table && (!["int32", "int64"].includes(graph.dtype) || !time || !table.fits(graph.elements))) wrong("an input of strings");
  return {
    ...graph,
    table,
    time,
    low: isFlag ? 0 : optional(item, "low"),
    high: isFlag ? 2 : optional(item, "high"),
    scale: optional(item, "scale"),
    zeroPoint: whole(item, "zero_point", -(2 ** 31), 2 ** 31, 0),
  };
}

function output(item: Json, flags: DType, unit: number, flush: number): OutputInfo {
  const rate = item.rate == null ? [1, 1] : list(item, "rate");
  const [up, down] = rate as number[];
  if (rate.length !== 2 || !rate.every((n) => Number.isInteger(n) && (n as number) >= 1 && (n as number) <= 65536)) wrong("a rate");
  if ((unit * up) % down) wrong("a rate");
  return {
    ...tensor(item, flags),
    scale: optional(item, "scale"),
    zeroPoint: whole(item, "zero_point", -(2 ** 31), 2 ** 31, 0),
    up,
    down,
    start: whole(item, "start", 0, MAX_STEPS, 0),
    end: whole(item, "end", 0, flush, 0),
    valid: item.valid == null ? null : text(item, "valid"),
  };
}

function pack(item: Json, files: ReadonlyMap<string, Uint8Array>): PackInfo {
  const dtype = item.dtype, size = whole(item, "size", 0, MAX_ELEMENTS / 8);
  if (!isDType(dtype)) wrong("the dtype of a pack");
  let initial: Uint8Array | null = null;
  if (item.initial != null) {
    const stored = files.get(text(item, "initial"));
    if (!stored || stored.length !== size * KINDS[dtype].bytes) wrong("the initial value of a pack");
    initial = stored;
  }
  return { input: text(item, "input"), output: text(item, "output"), dtype, size, initial };
}

function encode(found: unknown, flags: DType, files: ReadonlyMap<string, Uint8Array>): EncodeInfo | null {
  if (found == null) return null;
  if (!isObject(found)) wrong("encode");
  const inputs = objects(found, "inputs").map((item) => input(item, flags, files));
  const valid = new Map(Object.entries(isObject(found.valid) ? found.valid : {}) as [string, string][]);
  if (!inputs.length || inputs.some((info) => info.time && typeof valid.get(info.name) !== "string")) wrong("encode");
  return { inputs, maxLength: whole(found, "max_length", 0, MAX_STEPS), valid };
}

function parsed(data: Uint8Array): Json {
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    found = null;
  }
  return isObject(found) ? found : fail("file", "streaming.json is no JSON object; convert the model again");
}

function checkSchema(schema: unknown): void {
  if (typeof schema === "number" && Number.isInteger(schema) && schema >= 1 && schema <= SCHEMA) return;
  const newer = typeof schema === "number" && schema > SCHEMA;
  fail(
    newer ? "version" : "file",
    `streaming.json has schema ${JSON.stringify(schema) ?? "none"}, this client reads 1 to ${SCHEMA}; update it or convert the model again`,
  );
}

/** Read streaming.json. `files`: all associated files, which it refers to by name. */
export function readMetadata(data: Uint8Array, files: ReadonlyMap<string, Uint8Array>): Metadata {
  const found = parsed(data);
  checkSchema(found.schema);
  const kind = text(found, "flags", "bool"), state = text(found, "state", "external");
  if (!["bool", "int32"].includes(kind) || !["external", "internal"].includes(state)) wrong("flags or state");
  const flags: DType = kind === "int32" ? "int32" : "bool";
  const unit = whole(found, "unit", 1, MAX_STEPS, 1), flush = whole(found, "flush", 0, MAX_STEPS, 0);
  const isWindow = found.window != null;
  const named = isObject(found.signatures) ? Object.entries(found.signatures) : wrong("signatures");
  const meta: Metadata = {
    fingerprint: text(found, "fingerprint"),
    flatbufferBytes: whole(found, "flatbuffer_bytes", 0, 2 ** 31),
    files: new Map(Object.entries(isObject(found.files) ? found.files : {}) as [string, string][]),
    signatures: new Map(named.map(([name, item]) => [name, signature(item)])),
    inputs: objects(found, "inputs").map((item) => input(item, flags, files)),
    outputs: objects(found, "outputs").map((item) => output(item, flags, unit, flush)),
    packs: objects(found, "packs").map((item) => pack(item, files)),
    chunk: whole(found, "chunk", 1, MAX_STEPS, 1),
    unit,
    delay: whole(found, "delay", 0, MAX_STEPS, 0),
    flush,
    valid: found.valid == null ? null : text(found, "valid"),
    flags,
    internal: state === "internal",
    encode: encode(found.encode, flags, files),
    window: isWindow ? whole(found, "window", 1, MAX_STEPS) : null,
    hop: whole(found, "hop", 1, MAX_STEPS, 1),
    pad: found.pad != null,
    lead: whole(found, "lead", 0, unit - 1, 0),
    task: isObject(found.task) ? found.task : null,
  };
  check(meta);
  return meta;
}

function signature(item: unknown): { batch: number; chunk: number } {
  if (!isObject(item)) wrong("signatures");
  return { batch: whole(item, "batch", 0, 65536), chunk: whole(item, "chunk", 0, MAX_STEPS) };
}

function check(meta: Metadata): void {
  if (meta.chunk % meta.unit) wrong("a number of steps");
  if (meta.window !== null ? meta.unit !== meta.hop || meta.flush : meta.hop !== 1 || meta.lead || meta.pad) wrong("the window");
  if (!meta.inputs.some((info) => info.time) || !meta.outputs.length) wrong("an input with steps, or an output,");
  const contexts = meta.packs.filter((item) => item.output === "");
  if (contexts.length !== (meta.encode ? 1 : 0)) wrong("encode");
}
