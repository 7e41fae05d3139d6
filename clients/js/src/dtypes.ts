/** Element types: their names, their numbers in LiteRT, and the arrays that hold them. */

import { fail } from "./errors.js";

export type DType = "float32" | "float64" | "float16" | "int64" | "int32" | "int16" | "int8" | "uint8" | "bool";

export type Values =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Uint16Array
  | Int16Array
  | Int8Array
  | Uint8Array;

type ArrayKind = { readonly BYTES_PER_ELEMENT: number; new (buffer: ArrayBuffer, offset?: number, length?: number): Values };

interface Kind {
  element: number;
  bytes: number;
  array: ArrayKind;
  /** Smallest and largest value of integers. */
  range?: [number, number];
}

// float16 is carried as raw bits: a state may be stored so, values may not.
export const KINDS: Record<DType, Kind> = {
  float32: { element: 1, bytes: 4, array: Float32Array },
  int32: { element: 2, bytes: 4, array: Int32Array, range: [-(2 ** 31), 2 ** 31 - 1] },
  uint8: { element: 3, bytes: 1, array: Uint8Array, range: [0, 255] },
  int64: { element: 4, bytes: 8, array: BigInt64Array, range: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] },
  bool: { element: 6, bytes: 1, array: Uint8Array, range: [0, 1] },
  int16: { element: 7, bytes: 2, array: Int16Array, range: [-(2 ** 15), 2 ** 15 - 1] },
  int8: { element: 9, bytes: 1, array: Int8Array, range: [-128, 127] },
  float16: { element: 10, bytes: 2, array: Uint16Array },
  float64: { element: 11, bytes: 8, array: Float64Array },
};

export function isDType(name: unknown): name is DType {
  return typeof name === "string" && Object.hasOwn(KINDS, name);
}

/** An array over bytes of its own. */
export function arrayOf(dtype: DType, bytes: Uint8Array): Values {
  const { array, bytes: size } = KINDS[dtype];
  const own = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(own.buffer as ArrayBuffer, own.byteOffset, own.byteLength / size);
}

/** What a caller may give as values: numbers, nested or not, or any array of numbers. */
export type Numbers = number | bigint | readonly Numbers[] | ArrayBufferView;

function flat(values: Numbers, into: (number | bigint)[]): void {
  if (typeof values === "number" || typeof values === "bigint") into.push(values);
  else if (Array.isArray(values)) for (const item of values as Numbers[]) flat(item, into);
  else if (ArrayBuffer.isView(values) && !(values instanceof DataView)) for (const item of values as unknown as Iterable<number>) into.push(item);
  else throw new TypeError();
}

/** The raw bytes of values in a dtype; integers have to be whole and to fit. An array of the dtype is not copied. */
export function bytesOf(name: string, dtype: DType, values: Numbers): Uint8Array {
  const { array, bytes, range } = KINDS[dtype];
  if (values instanceof array && dtype !== "bool") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const list: (number | bigint)[] = [];
  try {
    if (typeof values === "string") throw new TypeError();
    flat(values, list);
  } catch {
    fail("input", `input ${name} is ${values === null ? "null" : typeof values}, expected an array of numbers`);
  }
  const out = new Uint8Array(list.length * bytes);
  const typed = arrayOf(dtype, out) as unknown as (number | bigint)[];
  for (let i = 0; i < list.length; i++) {
    const value = Number(list[i]);
    if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
      fail("input", `input ${name} holds ${value} at ${i}, expected ${dtype}; round or clip it`);
    }
    typed[i] = dtype === "int64" ? BigInt(list[i]) : value;
  }
  return out;
}
