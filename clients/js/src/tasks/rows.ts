/** Rows of numbers in: labels, forecasts, or how unexpected each row is. */

import type { Core } from "../core.js";
import { judge, labelPath, labelsOf, type LabelPath, type Labelled } from "../labels.js";
import { isObject, list, real, whole } from "../metadata.js";
import { erfc, type Row } from "../numeric.js";
import { RowReader, scaled, type Scaler, type WholeRow } from "../rows.js";
import { Session, lastStep, unfit, type Event, type SessionOptions } from "../session.js";
import type { Outputs, Stream } from "../stream.js";

abstract class RowSession extends Session {
  protected readonly reader: RowReader;
  protected readonly rate: number;
  private isFed = false;
  /** Output rows of the sequence. */
  protected count = 0;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    this.reader = new RowReader(core);
    this.rate = real(core.metadata.task!, "sample_rate", 0);
  }

  protected override takeRow(row: ArrayLike<number>): void {
    for (const item of this.reader.row(row)) this.wholeRow(item);
  }

  protected wholeRow(row: WholeRow): void {
    this.take(this.fed(scaled(row.values, this.reader.scaler)));
  }

  /** The rows that a row in the model's units brings. */
  protected fed(values: number[]): Row[] {
    const outputs = this.stream.feedNow(Float32Array.from(values));
    this.isFed = true;
    return this.rowsOf(outputs);
  }

  protected override end(): void {
    for (const row of this.reader.finish()) this.wholeRow(row);
    if (this.isFed) this.finished(this.stream.finishNow());
    this.reader.reset();
    this.count = 0;
    this.isFed = false;
    this.stream.resetNow();
  }

  protected finished(outputs: Outputs): void {
    this.take(this.rowsOf(outputs));
  }

  protected take(rows: Row[]): void {
    for (const row of rows) this.output(row);
  }

  protected abstract output(row: Row): void;
}

/** classifier of rows */
export class RowClassifier extends RowSession {
  private readonly judge: (row: Row) => Event;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    this.judge = judge(core);
  }

  protected override output(row: Row): void {
    this.tell(this.judge(row));
  }
}

/** sequence_tagger */
export class RowTagger extends RowSession {
  private readonly labels: string[];
  private readonly path: LabelPath;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    this.labels = labelsOf(core);
    this.path = labelPath(core, this.labels.length);
  }

  protected override output(row: Row): void {
    this.tag(this.path.row(row));
  }

  protected override finished(outputs: Outputs): void {
    super.finished(outputs);
    this.tag(this.path.finish());
  }

  private tag(found: Labelled[]): void {
    const { window, outputs } = this.core.metadata, { up, down } = outputs[0];
    for (const { label, score } of found) {
      const row = this.count++, steps = window === null ? (row * down) / up : lastStep(this.core, row);
      this.tell({ event: "taggedrow", row, tag: this.labels[label], score, time: this.rate > 0 ? steps / this.rate : null });
    }
  }
}

/** Where the targets of a forecast are, and which quantile stands for it. */
class Horizon {
  readonly horizon: number;
  /** Places of the targets among the columns. */
  readonly places: number[];
  readonly names: number[];
  readonly quantiles: number;
  readonly middle: number;

  constructor(core: Core, columns: number) {
    const task = core.metadata.task!, names = list(task, "columns"), targets = list(task, "targets");
    this.horizon = whole(task, "horizon", 1, 65536, 1);
    if (names.length !== columns) unfit("columns are wrong");
    this.places = (targets.length ? targets : names).map((name) => names.indexOf(name));
    if (this.places.includes(-1)) unfit("a target is no column");
    this.names = list(task, "quantiles") as number[];
    this.quantiles = Math.max(1, this.names.length);
    const distances = this.names.map((value) => Math.abs(value - 0.5));
    this.middle = distances.length ? distances.indexOf(Math.min(...distances)) : 0;
    const [out] = core.metadata.outputs, size = this.horizon * this.places.length * this.quantiles;
    if (core.metadata.outputs.length !== 1 || out.elements !== size || out.dtype !== "float32") unfit("it gives other forecasts");
  }

  /** Values of a quantile, (horizon, targets), in the units of the columns. */
  values(row: Row, quantile: number, scaler: Scaler | null): number[][] {
    return Array.from({ length: this.horizon }, (_, h) =>
      this.places.map((column, t) => {
        const value = row[(h * this.places.length + t) * this.quantiles + quantile];
        return scaler ? value * scaler.scale[column] + scaler.mean[column] : value;
      }),
    );
  }
}

/** Quantiles whose widths follow the errors of the forecasts, so that the outer ones hold a share of the values. */
class Intervals {
  private readonly horizon: Horizon;
  private readonly coverage: number;
  private readonly rate: number;
  /** Logarithms of factors, (horizon, targets). */
  private widths: number[][] = [];
  /** The lowest and highest quantile given for a row to come, by its number and the rows that it was ahead. */
  private readonly bounds = new Map<number, Map<number, [number, number][]>>();
  private row = 0;

  constructor(core: Core, horizon: Horizon, found: unknown) {
    const [{ up, down }] = core.metadata.outputs, { window, delay, unit } = core.metadata;
    const spec = isObject(found) ? found : unfit("its intervals are wrong");
    this.horizon = horizon;
    this.coverage = real(spec, "coverage", 0);
    this.rate = real(spec, "rate", 0);
    const { middle, quantiles, places } = horizon, count = horizon.horizon ** 2 * places.length;
    const isRight = this.coverage > 0 && this.coverage < 1 && this.rate > 0 && this.rate <= 1 && count <= 2 ** 22;
    if (!isRight || middle === 0 || middle === quantiles - 1) unfit("its intervals are wrong");
    if ((window === null && delay) || unit !== 1 || up !== 1 || down !== 1) unfit("its intervals need a forecast after each row");
    this.reset();
  }

  reset(): void {
    this.widths = Array.from({ length: this.horizon.horizon }, () => this.horizon.places.map(() => 0));
    this.bounds.clear();
    this.row = 0;
  }

  /** Score the forecasts of the next row. */
  observe({ values, missing }: WholeRow): void {
    for (const [ahead, targets] of this.bounds.get(this.row) ?? []) {
      const widths = this.widths[ahead - 1];
      targets.forEach(([low, high], t) => {
        const column = this.horizon.places[t], error = Number(values[column] < low || values[column] > high);
        if (!missing[column]) widths[t] = Math.min(5, Math.max(-5, widths[t] + this.rate * (error - (1 - this.coverage))));
      });
    }
    this.bounds.delete(this.row++);
  }

  /** What is given of the quantiles of a forecast, each (horizon, targets). */
  adapt(quantiles: number[][][]): number[][][] {
    const center = quantiles[this.horizon.middle], factors = this.widths.map((row) => row.map(Math.exp));
    const given = quantiles.map((values) => values.map((row, h) => row.map((value, t) => center[h][t] + factors[h][t] * (value - center[h][t]))));
    factors.forEach((_, h) => {
      const row = this.row + h, lowest = given[0][h], highest = given[given.length - 1][h];
      const known = this.bounds.get(row) ?? new Map<number, [number, number][]>();
      this.bounds.set(row, known.set(h + 1, lowest.map((low, t) => [low, highest[t]])));
    });
    return given;
  }
}

/** forecaster */
export class Forecaster extends RowSession {
  private readonly horizon: Horizon;
  private readonly intervals: Intervals | null;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const spec = core.metadata.task!.intervals;
    this.horizon = new Horizon(core, this.reader.columns);
    this.intervals = spec == null ? null : new Intervals(core, this.horizon, spec);
  }

  protected override wholeRow(row: WholeRow): void {
    this.intervals?.observe(row);
    super.wholeRow(row);
  }

  protected override end(): void {
    super.end();
    this.intervals?.reset();
  }

  protected override output(row: Row): void {
    const { names, middle } = this.horizon, of = (quantile: number) => this.horizon.values(row, quantile, this.reader.scaler);
    const values = names.map((_, i) => of(i)), given = this.intervals ? this.intervals.adapt(values) : values;
    const quantiles = Object.fromEntries(names.map((name, i) => [String(name), given[i]]));
    this.tell({ event: "forecast", row: this.count++, values: of(middle), quantiles });
  }
}

/** anomaly_detector */
export class AnomalyDetector extends RowSession {
  private readonly horizon: Horizon;
  private readonly shortWindow: number;
  private readonly longWindow: number;
  private readonly warmUp: number;
  private readonly threshold: number;
  private readonly probation: number;
  private expected: number[] | null = null;
  private errors: number[] = [];
  private errorCount = 0;
  /** Rows on probation, whose mean and deviation are the units of their series. */
  private early: number[][] = [];
  private units: Scaler | null;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const task = core.metadata.task!, [{ up, down }] = core.metadata.outputs;
    this.horizon = new Horizon(core, this.reader.columns);
    this.shortWindow = whole(task, "short_window", 1, 2 ** 20, 10);
    this.longWindow = whole(task, "long_window", this.shortWindow + 1, 2 ** 20, 1000);
    this.warmUp = whole(task, "warm_up", 2, 2 ** 24, 100);
    this.probation = whole(task, "probation", 0, 2 ** 20, 0);
    this.threshold = real(task, "threshold", 0.9999);
    this.units = this.reader.scaler;
    if ((this.probation && this.units) || up !== 1 || down !== 1 || core.metadata.delay) unfit("its windows are wrong, or its forecasts come late");
  }

  protected override wholeRow({ values: row }: WholeRow): void {
    if (this.early.length >= this.probation) {
      const { error, score } = this.judge(row);
      this.tellRow(error, score);
      return;
    }
    this.early.push(row);
    if (this.early.length === this.probation) {
      this.units = unitsOf(this.early);
      for (const item of this.early) this.judge(item);
    }
    this.tellRow(0, 0);
  }

  protected override end(): void {
    super.end();
    this.expected = null;
    this.errors = [];
    this.errorCount = 0;
    this.early = [];
    this.units = this.reader.scaler;
  }

  /** All has been said when a row came. */
  protected override finished(): void {}

  protected override output(row: Row): void {
    this.expected = this.horizon.values(row, this.horizon.middle, null)[0];
  }

  private judge(row: number[]): { error: number; score: number } {
    const values = scaled(row, this.units), rows = this.fed(values), expected = this.expected;
    let error = 0, score = 0;
    if (expected) {
      const { places } = this.horizon;
      error = Math.sqrt(places.reduce((sum, column, t) => sum + (values[column] - expected[t]) ** 2, 0) / places.length);
      score = this.likelihood(error);
    }
    this.take(rows);
    return { error, score };
  }

  private likelihood(error: number): number {
    this.errors = [...this.errors, error].slice(-this.longWindow);
    if (++this.errorCount < this.warmUp) return 0;
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const center = mean(this.errors), spread = Math.sqrt(mean(this.errors.map((value) => (value - center) ** 2)));
    const z = (mean(this.errors.slice(-this.shortWindow)) - center) / Math.max(spread, 1e-12);
    return 0.5 * erfc(-z / Math.SQRT2);
  }

  private tellRow(error: number, score: number): void {
    this.tell({ event: "anomaly", row: this.count++, error, score, alarm: score >= this.threshold });
  }
}

function unitsOf(rows: number[][]): Scaler {
  const columns = rows[0].map((_, c) => rows.map((row) => row[c]));
  const mean = columns.map((values) => values.reduce((a, b) => a + b, 0) / values.length);
  const scale = columns.map((values, c) => Math.sqrt(values.reduce((sum, value) => sum + (value - mean[c]) ** 2, 0) / values.length) || 1);
  return { mean, scale };
}
