/** Raw input to events: what all tasks have in common. */

import type { Core } from "./core.js";
import { fail } from "./errors.js";
import type { Outputs, Stream } from "./stream.js";
import type { Row } from "./numeric.js";

export type Event =
  | { event: "taggedword"; word: string; tag: string; score: number }
  | { event: "taggedrow"; row: number; tag: string; score: number; time: number | null }
  /** `labels`: all that hold, where several may. */
  | { event: "prediction"; label: string; score: number; labels?: string[] }
  /** `values`: of the middle quantile, by horizon and target; `quantiles`: all of them, by their names. */
  | { event: "forecast"; row: number; values: number[][]; quantiles: Record<string, number[][]> }
  | { event: "anomaly"; row: number; error: number; score: number; alarm: boolean }
  | { event: "keyword"; label: string; score: number; time: number }
  | { event: "utterance"; label: string; score: number; begin: number; end: number }
  | { event: "token"; text: string; time: number }
  | { event: "transcript"; text: string; log_probability: number; begin: number; end: number }
  | { event: "text"; text: string; score: number }
  | { event: "piece"; text: string; score: number }
  | { event: "translatedword"; word: string; read: number }
  /** The movement to a point, and whether it is the last of its stroke, and of the drawing. */
  | { event: "point"; row: number; dx: number; dy: number; lift: boolean; end: boolean; score: number };

/** How a sketcher draws: the file's settings where one is absent. */
export interface DrawingOptions {
  /** 0: the most probable points. */
  temperature?: number;
  /** Most points of a drawing. */
  maxLength?: number;
  /** The same one gives the same drawings, one after the other (0). */
  seed?: number;
}

/** Those of drawings go with a sketcher. */
export interface SessionOptions extends DrawingOptions {
  /** Is given each event at once; the calls give those that they made, too. */
  on?: (event: Event) => void;
}

/** How a generator chooses: the file's settings where one is absent. */
export interface TextOptions {
  /** One of the styles of the model. */
  style?: string;
  /** Most pieces. */
  maxLength?: number;
  /** 0: the most probable piece. */
  temperature?: number;
  topK?: number;
  topP?: number;
  /** Numbers from 0 to 1 that choose. */
  random?: () => number;
}

/** One sequence after another. Each call gives the events that it brought. */
export abstract class Session {
  private events: Event[] = [];
  private closed = false;

  /** @internal */
  constructor(
    protected readonly core: Core,
    protected readonly stream: Stream,
    private readonly options: SessionOptions,
  ) {}

  /** A word of a sentence: tagger, classifier; simultaneous translator. */
  async word(word: string): Promise<Event[]> {
    return this.collect(() => this.takeWord(string(word, "the word")));
  }

  /** A row of numbers, NaN where one is missing: classifier of rows, sequence_tagger, forecaster, anomaly_detector; of the beginning of a drawing: sketcher. */
  async row(row: ArrayLike<number>): Promise<Event[]> {
    return this.collect(() => this.takeRow(numbers(row, "the row")));
  }

  /** Samples between -1 and 1 at `model.sampleRate`: keyword_spotter, transcriber. */
  async samples(samples: ArrayLike<number>): Promise<Event[]> {
    return this.collect(() => this.takeSamples(numbers(samples, "audio")));
  }

  /** A whole text: translator; generator, which goes on from it. */
  async text(text: string, options: TextOptions = {}): Promise<Event[]> {
    return this.collect(() => this.takeText(string(text, "the text"), options));
  }

  /** A whole array, such as a picture's rows, columns, red, green, blue from 0 to 255: captioner. */
  async array(values: ArrayLike<number>): Promise<Event[]> {
    return this.collect(() => this.takeArray(numbers(values, "the array")));
  }

  /** The end of a sequence; what comes next begins another. A sketcher gives the points that follow the beginning. */
  async finish(): Promise<Event[]> {
    return this.collect(() => this.end());
  }

  /** Free the session's streams. */
  close(): void {
    this.closed = true;
    this.stream.close();
  }

  /* What a task does not take it refuses; each has its own of these. */
  protected takeWord(_word: string): void {
    this.refuse("words");
  }

  protected takeRow(_row: ArrayLike<number>): void {
    this.refuse("rows");
  }

  protected takeSamples(_samples: ArrayLike<number>): void {
    this.refuse("samples");
  }

  protected takeText(_text: string, _options: TextOptions): void {
    this.refuse("text");
  }

  protected takeArray(_values: ArrayLike<number>): void {
    this.refuse("arrays");
  }

  protected abstract end(): void;

  protected tell(event: Event): void {
    this.events.push(event);
    this.options.on?.(event);
  }

  private collect(call: () => void): Event[] {
    if (this.closed) fail("state", "the session is closed; open another");
    this.events = [];
    call();
    return this.events;
  }

  private refuse(what: string): never {
    return fail("state", `a ${this.core.task} does not take ${what}`);
  }

  /** The rows of the first output. */
  protected rowsOf(outputs: Outputs): Row[] {
    const { data, count } = outputs[this.core.metadata.outputs[0].name], size = count ? data.length / count : 0;
    return Array.from({ length: count }, (_, i) => (data as Float32Array).subarray(i * size, (i + 1) * size));
  }
}

function string(value: unknown, what: string): string {
  return typeof value === "string" ? value : fail("argument", `${what} is ${value === null ? "null" : typeof value}, expected a string`);
}

function numbers(values: ArrayLike<number>, what: string): ArrayLike<number> {
  const isList = Array.isArray(values) || (ArrayBuffer.isView(values) && !(values instanceof DataView));
  if (!isList) fail("argument", `${what} is ${values === null ? "null" : typeof values}, expected an array of numbers`);
  for (let i = 0; i < values.length; i++) if (typeof values[i] !== "number") fail("input", `${what} holds ${String(values[i])} at ${i}, expected numbers`);
  return values;
}

export function unfit(what: string): never {
  return fail("file", `the task and the model do not fit: ${what}; export the model anew`);
}

/** The input step, counted from 0, that completes an output row. */
export function lastStep(core: Core, row: number): number {
  const { window, hop, pad, outputs } = core.metadata, { up, down } = outputs[0];
  if (window !== null) return (pad ? ((window - 1) % hop) + 1 : window) + row * hop - 1;
  return Math.ceil(((row + 1) * down) / up) - 1;
}
