/** What a page and its worker say to each other. */

import type { ErrorCode } from "./errors.js";
import type { RuntimeOptions } from "./litert.js";
import type { DrawingOptions, Event, TextOptions } from "./session.js";

/** What a page knows of a model that lives in a worker. */
export interface ModelInfo {
  fingerprint: string;
  task: string | null;
  labels: string[];
  sampleRate: number | null;
  inputs: { name: string; dtype: string; shape: readonly number[] }[];
  /** What is given whole first, such as a picture. */
  sources: { name: string; dtype: string; shape: readonly number[] }[];
  chunk: number;
  delay: number;
  window: number | null;
  hop: number;
  stateBytes: number;
  /** Columns of rows, with a usual value and how far values usually lie from it. */
  columns: { name: string; mean: number; scale: number }[];
}

export type RemoteTextOptions = Omit<TextOptions, "random">;

/** Calls of a worker: name -> arguments and result. */
export interface Calls {
  open(source: string | Uint8Array, options: RuntimeOptions): ModelInfo;
  measure(steps: number): number;
  session(options: DrawingOptions): number;
  word(session: number, word: string): Event[];
  row(session: number, row: ArrayLike<number>): Event[];
  samples(session: number, samples: ArrayLike<number>): Event[];
  text(session: number, text: string, options: RemoteTextOptions): Event[];
  array(session: number, values: ArrayLike<number>): Event[];
  finish(session: number): Event[];
  close(session: number): void;
}

export type Call = { [K in keyof Calls]: { id: number; name: K; args: Parameters<Calls[K]> } }[keyof Calls];

export type Answer =
  | { id: number; result: unknown }
  | { id: number; error: { code: ErrorCode; message: string } }
  /** An event as it comes, before the call that made it is answered. */
  | { session: number; event: Event };
