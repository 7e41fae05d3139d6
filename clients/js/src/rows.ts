/** Rows of numbers to what a model takes: missing values, masks, scalers. docs/format.md, "Rows of numbers". */

import type { Core } from "./core.js";
import { fail } from "./errors.js";
import { flag, isObject, list, text, wrong } from "./metadata.js";
import { unfit } from "./session.js";

/** Rows that an interpolation waits for the next value of a column. */
const MAX_WAITING = 100_000;

export interface Scaler {
  mean: number[];
  scale: number[];
}

export type Policy = "refuse" | "drop" | "hold" | "interpolate";

/** A row without a gap as a model takes it, masks included, and which of its columns had no value. */
export interface WholeRow {
  values: number[];
  missing: boolean[];
}

/** What rows go through before a model sees them. */
export class RowReader {
  /** Numbers of a row as the model takes it, and as it comes. */
  readonly width: number;
  readonly columns: number;
  readonly scaler: Scaler | null;
  private readonly policy: Policy;
  private readonly isMasked: boolean;
  /** Of each column: its last value, and the number of its row. */
  private last: number[] = [];
  private lastAt: number[] = [];
  private gaps: number[][] = [];
  private passed = 0;

  constructor(core: Core) {
    const task = core.metadata.task!, [info] = core.metadata.inputs, names = list(task, "columns");
    const policy = text(task, "missing", "refuse");
    if (!["refuse", "drop", "hold", "interpolate"].includes(policy)) wrong("task.missing");
    this.policy = policy as Policy;
    this.isMasked = flag(task, "mask", false);
    this.width = info.elements;
    this.columns = this.isMasked ? this.width / 2 : this.width;
    const fits = core.metadata.inputs.length === 1 && info.dtype === "float32" && info.time && this.width > 0 && Number.isInteger(this.columns);
    if (!fits || (names.length && names.length !== this.columns)) unfit("it takes other rows");
    this.scaler = scalerOf(task.scaler, this.width);
    this.reset();
  }

  reset(): void {
    this.last = new Array<number>(this.columns).fill(NaN);
    this.lastAt = new Array<number>(this.columns).fill(-1);
    this.gaps = [];
    this.passed = 0;
  }

  /** The rows without a gap that a row brings, masks after the columns. */
  row(row: ArrayLike<number>): WholeRow[] {
    const values = Array.from(row), hasMasks = this.isMasked && values.length === this.width;
    const expected = hasMasks ? this.width : this.columns;
    if (values.length !== expected) fail("input", `a row has ${values.length} numbers, expected ${expected}`);
    const fills = this.policy !== "refuse" && !hasMasks;
    const wrongAt = values.findIndex((value) => !Number.isFinite(value) && !(Number.isNaN(value) && fills));
    if (wrongAt >= 0) fail("input", `a row holds ${values[wrongAt]} at ${wrongAt}, expected finite numbers; clean or fill it`);
    if (hasMasks) return [{ values, missing: values.slice(this.columns).map((mask) => mask > 0) }];
    if (this.policy === "interpolate") {
      this.gaps.push(values);
      return this.interpolated(false);
    }
    values.forEach((value, i) => {
      if (!Number.isNaN(value)) this.last[i] = value;
    });
    const filled = this.policy === "hold" ? [...this.last] : values;
    return filled.some(Number.isNaN) ? [] : [this.masked(filled, values)];
  }

  /** What still waits at the end of a sequence. */
  finish(): WholeRow[] {
    return this.gaps.length ? this.interpolated(true) : [];
  }

  private masked(filled: number[], values: number[]): WholeRow {
    const missing = values.map(Number.isNaN);
    return { values: this.isMasked ? [...filled, ...missing.map(Number)] : filled, missing };
  }

  /** The rows at or after which each column has had a value; all of them at the end. */
  private interpolated(isEnd: boolean): WholeRow[] {
    const columns = this.last.map((_, c) => c), rows = this.gaps;
    const known = columns.map((c) => rows.findLastIndex((row) => !Number.isNaN(row[c])) + 1);
    const end = isEnd ? rows.length : Math.min(...known);
    if (rows.length - end > MAX_WAITING) fail("input", `a column has had no value for ${rows.length - end} rows; hold values, or mend it`);
    const filled = rows.slice(0, end).map((_, r) => columns.map((c) => this.onLine(r, c)));
    const found = filled.map((row, r) => this.masked(row, rows[r])).filter((_, r) => !filled[r].some(Number.isNaN));
    for (const c of columns) {
      const at = rows.slice(0, end).findLastIndex((row) => !Number.isNaN(row[c]));
      if (at >= 0) [this.last[c], this.lastAt[c]] = [rows[at][c], this.passed + at];
    }
    this.passed += end;
    this.gaps = rows.slice(end);
    return found;
  }

  /** On the line between the values before and after; the last one where none follows, NaN before the first. */
  private onLine(row: number, column: number): number {
    const rows = this.gaps, here = rows[row][column];
    if (!Number.isNaN(here)) return here;
    let x0 = this.lastAt[column], y0 = this.last[column];
    const before = rows.slice(0, row).findLastIndex((item) => !Number.isNaN(item[column]));
    if (before >= 0) [x0, y0] = [this.passed + before, rows[before][column]];
    const after = rows.findIndex((item, i) => i > row && !Number.isNaN(item[column]));
    if (after < 0 || Number.isNaN(y0)) return y0;
    return y0 + ((rows[after][column] - y0) / (this.passed + after - x0)) * (this.passed + row - x0);
  }
}

function scalerOf(found: unknown, width: number): Scaler | null {
  if (found == null) return null;
  if (!isObject(found)) return unfit("its scaler is none");
  const numbers = (key: string): number[] => {
    const values = list(found, key);
    return values.length === width && values.every((value) => typeof value === "number") ? (values as number[]) : unfit("it scales other columns");
  };
  const scaler = { mean: numbers("mean"), scale: numbers("scale") };
  return scaler.scale.includes(0) ? unfit("a scale is 0") : scaler;
}

export function scaled(row: readonly number[], scaler: Scaler | null): number[] {
  return scaler ? row.map((value, i) => (value - scaler.mean[i]) / scaler.scale[i]) : [...row];
}
