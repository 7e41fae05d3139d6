/** Strokes of a pen: the points that follow the beginning of a drawing. docs/format.md, "sketcher". */

import type { Core } from "../core.js";
import { fail } from "../errors.js";
import { real, whole } from "../metadata.js";
import { best, logAdd, logSoftmax, type Row } from "../numeric.js";
import { RowReader, scaled } from "../rows.js";
import { Session, unfit, type SessionOptions } from "../session.js";
import type { Stream } from "../stream.js";

const PENS = 3, PARAMETERS = 6;
/** The row before the first point: the pen is up. */
const BEGINNING = [0, 0, 1];

/** Mulberry32, numbers from 0 up to 1; the client in C has the same one. */
function generatorOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A normal distribution of a movement, and the logarithm of its weight. */
interface Component {
  weight: number;
  means: [number, number];
  deviations: [number, number];
  rho: number;
}

function logDensity({ weight, means, deviations, rho }: Component, dx: number, dy: number): number {
  const u = (dx - means[0]) / deviations[0], v = (dy - means[1]) / deviations[1], rest = 1 - rho * rho;
  const scale = Math.log(2 * Math.PI) + Math.log(deviations[0]) + Math.log(deviations[1]) + 0.5 * Math.log(rest);
  return weight - (u * u + v * v - 2 * rho * u * v) / (2 * rest) - scale;
}

/** A place of log probabilities: drawn, or at temperature 0 the best. */
function drawnPlace(logs: Row, temperature: number, random: number): number {
  const top = best(logs);
  if (temperature === 0) return top;
  const powers = Array.from(logs, (value) => Math.exp((value - logs[top]) / temperature));
  let left = random * powers.reduce((a, b) => a + b, 0);
  const found = powers.findIndex((power) => (left -= power) < 0);
  return found < 0 ? top : found; // none: of rounding
}

/** sketcher */
export class Sketcher extends Session {
  private readonly reader: RowReader;
  private readonly scale: number[];
  private readonly floor: number;
  private readonly temperature: number;
  private readonly limit: number;
  private readonly random: () => number;
  /** The output after the last row; none before the first. */
  private density: Row | null = null;
  /** Points before the next. */
  private count = 0;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const { outputs: [out], outputs, delay, window, unit } = core.metadata, task = core.metadata.task!;
    this.reader = new RowReader(core);
    const size = out.elements - PENS, isDensity = outputs.length === 1 && out.dtype === "float32" && size > 0 && size % PARAMETERS === 0;
    const isPrompt = !delay && window === null && unit === 1 && out.up === 1 && out.down === 1;
    if (!isDensity || !isPrompt || this.reader.width !== 3 || this.reader.columns !== 3) unfit("it does not take dx, dy and lift and give a density after each row");
    this.scale = this.reader.scaler?.scale ?? [1, 1, 1];
    this.floor = real(task, "floor", 0.01);
    const { temperature = real(task, "temperature", 1), maxLength = whole(task, "max_length", 1, 2 ** 24, 200), seed = 0 } = options;
    if (!(temperature >= 0 && temperature < Infinity)) fail("argument", `temperature is ${temperature}, expected 0 or more`);
    if (!(Number.isInteger(maxLength) && maxLength >= 1)) fail("argument", `maxLength is ${maxLength}, expected a whole number, 1 or more`);
    if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) fail("argument", `seed is ${seed}, expected a whole number from 0 to 4294967295`);
    this.temperature = temperature;
    this.limit = maxLength;
    this.random = generatorOf(seed);
  }

  protected override takeRow(row: ArrayLike<number>): void {
    for (const { values } of this.reader.row(row)) {
      if (values[2] !== 0 && values[2] !== 1) fail("input", `lift is ${values[2]} in row ${this.count + 1}, expected 1 after the last point of a stroke, else 0`);
      const isFirst = this.density === null;
      if (isFirst) this.feed(BEGINNING);
      if (!isFirst || values.some((value, i) => value !== BEGINNING[i])) this.point(values);
    }
  }

  private point(row: number[]): void {
    this.feed(row);
    this.count++;
  }

  private feed(row: number[]): void {
    const [found] = this.rowsOf(this.stream.feedNow(Float32Array.from(scaled(row, this.reader.scaler))));
    this.density = found ?? unfit("it gives no density after a row");
  }

  /** The points that follow a beginning. */
  protected override end(): void {
    for (let i = 0; this.density !== null && i < this.limit; i++) {
      const { dx, dy, pen, score } = this.movement(this.density), lift = pen > 0, isEnd = pen === 2;
      const row = [dx * this.scale[0], dy * this.scale[1], Number(lift)];
      this.tell({ event: "point", row: this.count, dx: row[0], dy: row[1], lift, end: isEnd, score });
      if (isEnd) break;
      if (i + 1 < this.limit) this.point(row);
    }
    this.reader.reset();
    this.density = null;
    this.count = 0;
    this.stream.resetNow();
  }

  private movement(output: Row): { dx: number; dy: number; pen: number; score: number } {
    const values = Array.from(output), parts = values.slice(0, -PENS), pens = logSoftmax(values.slice(-PENS));
    const weights = logSoftmax(parts.filter((_, i) => i % PARAMETERS === 0));
    const deviation = (x: number) => this.floor + Math.exp(Math.min(20, Math.max(-20, x)));
    const components = Array.from(weights, (weight, m): Component => {
      const [, x, y, a, b, c] = parts.slice(PARAMETERS * m, PARAMETERS * (m + 1));
      return { weight, means: [x, y], deviations: [deviation(a), deviation(b)], rho: 0.95 * Math.tanh(c) };
    });
    const first = this.random(), second = this.random();
    const radius = Math.sqrt(-2 * Math.log(1 - this.random())), angle = 2 * Math.PI * this.random();
    const { means, deviations, rho } = components[drawnPlace(weights, this.temperature, first)], pen = drawnPlace(pens, this.temperature, second);
    const x = radius * Math.cos(angle), y = rho * x + Math.sqrt(1 - rho * rho) * radius * Math.sin(angle), spread = Math.sqrt(this.temperature);
    const dx = means[0] + spread * deviations[0] * x, dy = means[1] + spread * deviations[1] * y;
    const score = components.reduce((sum, component) => logAdd(sum, logDensity(component, dx, dy)), -Infinity) + pens[pen];
    return { dx, dy, pen, score };
  }
}
