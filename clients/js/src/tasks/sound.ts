/** Samples in, keywords or what is said out. */

import { Endpointer, LogMel } from "../audio.js";
import type { Core } from "../core.js";
import { PrefixBeam } from "../ctc.js";
import { fail } from "../errors.js";
import { labelsOf } from "../labels.js";
import { flag, isObject, list, real, text, whole, wrong } from "../metadata.js";
import { best, logSoftmax, rint, sigmoid, softmax, type Row } from "../numeric.js";
import { Session, lastStep, unfit, type SessionOptions } from "../session.js";
import type { Stream } from "../stream.js";

interface Span {
  begin: number;
  end: number;
}

abstract class SoundSession extends Session {
  protected readonly labels: string[];
  protected readonly rate: number;
  /** Samples from a model's row to the next, and seconds from an output row to the next. */
  private readonly step: number;
  protected readonly seconds: number;
  private readonly length: number;
  private readonly mel: LogMel | null;
  /** Samples that times leave out, and zeros that come before the first sample. */
  private readonly lead: number;
  private readonly zeros: number;
  protected readonly endpointer: Endpointer | null;
  private pending: number[] = [];
  /** Samples so far, where the utterance began among them, and output rows of it. */
  private sample = 0;
  private begin = 0;
  private count = 0;
  private isFed = false;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const task = core.metadata.task!, [info] = core.metadata.inputs, [{ up, down }] = core.metadata.outputs;
    this.labels = labelsOf(core);
    this.rate = whole(task, "sample_rate", 100, 1e6);
    if (core.metadata.inputs.length !== 1 || info.dtype !== "float32" || !info.time || !info.elements) unfit("it takes other rows");
    this.mel = task.features == null ? null : new LogMel(isObject(task.features) ? task.features : wrong("task.features"));
    if (this.mel && this.mel.bands !== info.elements) unfit("it takes other features");
    this.step = this.mel?.step ?? info.elements;
    this.length = this.mel?.length ?? whole(task, "frame_length", 1, 1e9, info.elements);
    this.seconds = (this.step * down) / up / this.rate;
    const lead = real(task, "lead", 0);
    if (!(lead >= 0 && lead <= 60)) wrong("task.lead");
    this.lead = rint((lead * this.rate) / this.step) * this.step;
    this.zeros = this.mel ? this.lead : whole(task, "zeros", 0, 1e9, this.lead);
    this.endpointer = Endpointer.of(task, this.rate);
  }

  protected override takeSamples(samples: ArrayLike<number>): void {
    for (let i = 0; i < samples.length; i++) {
      if (!Number.isFinite(samples[i])) fail("input", `audio holds ${samples[i]} at ${i}, expected finite numbers; clean it`);
    }
    for (let i = 0; i < samples.length; i++) {
      if (this.sample === this.begin) this.putZeros((this.mel?.edge ?? 0) + this.zeros);
      this.put(samples[i]);
      this.sample++;
      if (this.endpointer?.sample(samples[i])) this.utterance();
    }
  }

  protected override end(): void {
    if (this.sample > this.begin) this.utterance();
    this.sample = this.begin = 0;
    this.endpointer?.reset();
  }

  protected abstract output(row: Row, time: number): void;

  /** The end of an utterance; `isFed`: whether the model gave rows of it. */
  protected abstract spoken(span: Span, isFed: boolean): void;

  private putZeros(count: number): void {
    for (let i = 0; i < count; i++) this.put(0);
  }

  private put(value: number): void {
    if (this.mel) {
      const frame = this.mel.sample(value);
      if (frame) this.fed(frame);
      return;
    }
    this.pending.push(value);
    if (this.pending.length < this.step) return;
    this.fed(Float32Array.from(this.pending));
    this.pending = [];
  }

  private fed(values: Float32Array): void {
    this.isFed = true;
    for (const row of this.rowsOf(this.stream.feedNow(values))) this.timed(row);
  }

  private timed(row: Row): void {
    const seen = lastStep(this.core, this.count++) * this.step + this.length - this.lead;
    this.output(row, this.begin / this.rate + seen / this.rate);
  }

  private utterance(): void {
    this.putZeros(this.mel?.edge ?? 0);
    if (this.isFed) for (const row of this.rowsOf(this.stream.finishNow())) this.timed(row);
    this.spoken({ begin: this.begin / this.rate, end: this.sample / this.rate }, this.isFed);
    this.begin = this.sample;
    this.count = 0;
    this.isFed = false;
    this.pending = [];
    this.mel?.reset();
    this.stream.resetNow();
  }
}

/** keyword_spotter */
export class KeywordSpotter extends SoundSession {
  private readonly isMulti: boolean;
  private readonly threshold: number;
  private readonly window: number;
  private readonly rest: number;
  private readonly wanted: boolean[];
  private recent: Float64Array[] = [];
  /** Of each label: rows since it led, and whether its episode has been told. */
  private absent: number[] = [];
  private told: boolean[] = [];

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const task = core.metadata.task!, background = list(task, "background");
    const smoothing = real(task, "smoothing", 0), refractory = real(task, "refractory", 1);
    if (!(smoothing >= 0 && smoothing <= 60 && refractory >= 0 && refractory <= 86400)) wrong("task.smoothing");
    this.isMulti = flag(task, "multi_label", false);
    this.threshold = real(task, "threshold", 0.5);
    this.window = Math.max(1, rint(smoothing / this.seconds));
    this.rest = Math.max(1, rint(refractory / this.seconds));
    this.wanted = this.labels.map((label) => !background.includes(label));
    this.anew();
  }

  private anew(): void {
    this.recent = [];
    this.absent = this.labels.map(() => this.rest);
    this.told = this.labels.map(() => false);
  }

  protected override output(row: Row, time: number): void {
    this.recent.push(this.isMulti ? sigmoid(row) : softmax(row));
    if (this.recent.length > this.window) this.recent.shift();
    const means = this.labels.map((_, i) => this.recent.reduce((sum, scores) => sum + scores[i], 0) / this.recent.length);
    const rising = means.map((mean, i) => this.rises(i, mean, this.leads(i, means)));
    const order = means.map((_, i) => i).filter((i) => rising[i]);
    for (const i of order.sort((a, b) => means[b] - means[a])) {
      this.told[i] = true;
      this.tell({ event: "keyword", label: this.labels[i], score: means[i], time });
    }
  }

  private leads(label: number, means: number[]): boolean {
    if (!this.wanted[label]) return false;
    if (this.isMulti) return means[label] >= Math.min(0.5, this.threshold);
    const quiet = means.reduce((sum, mean, i) => sum + (this.wanted[i] ? 0 : mean), 0);
    const first = best(means.map((mean, i) => (this.wanted[i] ? mean : -1)));
    return label === first && means[label] > quiet;
  }

  private rises(label: number, mean: number, isLeading: boolean): boolean {
    if (!isLeading) {
      this.absent[label]++;
      return false;
    }
    if (this.absent[label] >= this.rest) this.told[label] = false;
    this.absent[label] = 0;
    return !this.told[label] && mean >= this.threshold;
  }

  protected override spoken(span: Span): void {
    const last = this.recent.at(-1);
    if (this.endpointer && last) {
      const first = best(last);
      this.tell({ event: "utterance", label: this.labels[first], score: last[first], ...span });
    }
    this.anew();
  }
}

/** transcriber */
export class Transcriber extends SoundSession {
  private readonly blank: number;
  private readonly width: number;
  private readonly joiner: string;
  private tokens: number[] = [];
  private last = 0;
  private score = 0;
  private beam: PrefixBeam | null = null;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const task = core.metadata.task!;
    this.blank = whole(task, "blank", 0, this.labels.length - 1, 0);
    this.width = whole(task, "width", 1, 1024, 1);
    this.joiner = text(task, "joiner", " ");
    this.anew();
  }

  private anew(): void {
    this.tokens = [];
    this.last = this.blank;
    this.score = 0;
    this.beam = this.width > 1 ? new PrefixBeam(this.blank, this.width) : null;
  }

  protected override output(row: Row, time: number): void {
    const scores = logSoftmax(row), first = best(scores);
    if (this.beam) {
      this.beam.row(scores);
      return;
    }
    this.score += scores[first];
    if (first !== this.blank && first !== this.last) {
      this.tokens.push(first);
      this.tell({ event: "token", text: this.labels[first], time });
    }
    this.last = first;
  }

  protected override spoken(span: Span): void {
    const { tokens, score } = this.beam?.best() ?? { tokens: this.tokens, score: this.score };
    if (tokens.length) {
      const said = tokens.map((token) => this.labels[token]).join(this.joiner);
      this.tell({ event: "transcript", text: said, log_probability: score, ...span });
    }
    this.anew();
  }
}
