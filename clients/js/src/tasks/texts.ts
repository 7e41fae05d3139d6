/** Texts and arrays in, text out: generator, translator, captioner. */

import { Codec, END, PAD, START } from "../codec.js";
import type { Core } from "../core.js";
import { fail } from "../errors.js";
import { flag, real, whole, type InputInfo } from "../metadata.js";
import { best, logSoftmax, type Row } from "../numeric.js";
import { Session, unfit, type SessionOptions, type TextOptions } from "../session.js";
import type { Stream } from "../stream.js";

function isToken(info: InputInfo): boolean {
  return info.shape.length === 0 && (info.dtype === "int32" || info.dtype === "int64") && info.time;
}

abstract class TextSession extends Session {
  protected readonly target: Codec;
  protected readonly limit: number;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions, limit: number) {
    super(core, stream, options);
    const meta = core.metadata, [out] = meta.outputs;
    this.target = new Codec(core.files.get("target.json"), "target.json");
    const fits = meta.outputs.length === 1 && out.shape.length === 1 && out.shape[0] === this.target.size && out.dtype === "float32";
    if (!fits || meta.chunk !== 1 || meta.delay || !meta.inputs.every(isToken)) unfit("it does not take a number a step and give a row of logits");
    this.limit = whole(meta.task!, "max_length", 1, 65536, limit);
  }

  protected override end(): void {
    this.stream.resetNow();
  }

  /** The row of logits after a token. */
  protected after(stream: Stream, values: number | Record<string, number>): Row {
    return this.rowsOf(stream.feedNow(values))[0] ?? unfit("it does not give a row a step");
  }
}

/** generator */
export class Generator extends TextSession {
  private readonly hasStart: boolean;
  /** The numbers of the styles. */
  private readonly styles = new Map<string, number>();

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options, 500);
    this.hasStart = flag(core.metadata.task!, "start", true);
    if (core.metadata.inputs.length !== 1 || core.metadata.encode) unfit("it takes more than a prompt");
    const names = core.metadata.task!["styles"] ?? [];
    if (!Array.isArray(names)) unfit("its styles are no list");
    for (const name of names as unknown[]) this.styles.set(String(name), this.target.number(`<${name}>`) ?? unfit(`it has no entry of the style ${name}`));
  }

  protected override takeText(text: string, options: TextOptions): void {
    const { style } = options, task = this.core.metadata.task!, start = this.hasStart ? [START] : [];
    const first = style === undefined ? start : [this.styles.get(style) ?? fail("input", `the model has no style ${style}; it has ${[...this.styles.keys()].join(", ") || "none"}`)];
    const ids = [...first, ...this.target.encode(text)], never = new Set(this.styles.values());
    if (!ids.length) fail("input", "the prompt is empty; this model goes on from at least one piece of text");
    const limit = whole({ ...options }, "maxLength", 1, 2 ** 31, this.limit);
    const choice: Choice = {
      temperature: real({ ...options }, "temperature", real(task, "temperature", 1)),
      topK: whole({ ...options }, "topK", 0, 2 ** 31, whole(task, "top_k", 0, 2 ** 31, 0)),
      topP: real({ ...options }, "topP", real(task, "top_p", 1)),
      random: options.random ?? Math.random,
    };
    if (!(choice.temperature >= 0) || !(choice.topP > 0 && choice.topP <= 1)) fail("argument", "temperature is at least 0, topP between 0 and 1");
    this.stream.resetNow();
    let row: Row = [];
    for (const id of ids) row = this.after(this.stream, id);
    for (let i = 0; i < limit; i++) {
      const token = chosen(row, this.hasStart ? END : END + 1, never, choice);
      if (token === END) break;
      this.tell({ event: "piece", text: this.target.text([token]), score: logSoftmax(row)[token] });
      if (i + 1 < limit) row = this.after(this.stream, token);
    }
  }
}

interface Choice {
  temperature: number;
  topK: number;
  topP: number;
  random: () => number;
}

/** A piece from `first` on that is not one of `never`: the best, or one that is drawn. */
function chosen(row: Row, first: number, never: ReadonlySet<number>, { temperature, topK, topP, random }: Choice): number {
  const allowed = Float64Array.from(row, (value, i) => (i < first || never.has(i) ? -Infinity : value));
  if (temperature === 0) return best(allowed);
  const order = Array.from(allowed.keys()).filter((i) => allowed[i] > -Infinity).sort((a, b) => allowed[b] - allowed[a]);
  if (topK) order.length = Math.min(order.length, topK);
  const weights = order.map((i) => Math.exp((allowed[i] - allowed[order[0]]) / temperature));
  let sum = weights.reduce((a, b) => a + b, 0), kept = 0;
  for (let reached = 0; kept < weights.length && (kept === 0 || reached < topP * sum); ) reached += weights[kept++];
  sum = weights.slice(0, kept).reduce((a, b) => a + b, 0);
  let left = random() * sum, at = 0;
  while (at + 1 < kept && (left -= weights[at]) >= 0) at++;
  return order[at];
}

interface Hypothesis {
  tokens: number[];
  total: number;
  stream: Stream;
}

/** What has seen its source, and is written by a beam search: translator, captioner. */
abstract class Writer extends TextSession {
  private readonly width: number;
  private readonly penalty: number;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options, 100);
    const { encode, inputs, internal, task } = core.metadata;
    if (encode?.inputs.length !== 1 || inputs.length !== 1 || internal) unfit("it is not given one whole input first");
    this.width = whole(task!, "width", 1, 256, 5);
    this.penalty = real(task!, "length_penalty", 1);
  }

  /** Writes the best text; the session's stream has seen its source. */
  protected write(): void {
    const worth = (total: number, length: number) => total / ((5 + length) / 6) ** this.penalty;
    let live: Hypothesis[] = [{ tokens: [], total: 0, stream: this.stream.forkNow() }];
    let done: { tokens: number[]; worth: number } | null = null;
    try {
      for (let step = 0; step < this.limit && live.length; step++) {
        const choices = this.choices(live), next: Hypothesis[] = [];
        for (const { parent, token, total } of choices) {
          const { tokens, stream } = live[parent];
          if (token === END) {
            const found = worth(total, tokens.length + 1);
            if (!done || found > done.worth) done = { tokens, worth: found };
          } else if (next.length < this.width) next.push({ tokens: [...tokens, token], total, stream: stream.forkNow() });
        }
        live.forEach(({ stream }) => stream.close());
        live = next;
        if (done && live.length && done.worth >= worth(live[0].total, this.limit)) break;
      }
      const found = [...(done ? [done] : []), ...live.map(({ tokens, total }) => ({ tokens, worth: worth(total, tokens.length) }))];
      const first = found.reduce((a, b) => (b.worth > a.worth ? b : a));
      this.tell({ event: "text", text: this.target.decode(first.tokens), score: first.worth });
    } finally {
      live.forEach(({ stream }) => stream.close());
    }
  }

  /** The best continuations of all, twice as many as the beam is wide, the best first. */
  private choices(live: Hypothesis[]): { parent: number; token: number; total: number }[] {
    const most = 2 * this.width, found: { parent: number; token: number; total: number }[] = [];
    live.forEach(({ tokens, total, stream }, parent) => {
      const scores = logSoftmax(this.after(stream, tokens.at(-1) ?? START));
      for (let token = END; token < scores.length; token++) {
        const sum = total + scores[token];
        if (sum === -Infinity || (found.length === most && sum <= found[most - 1].total)) continue;
        let at = found.length;
        while (at > 0 && found[at - 1].total < sum) at--;
        found.splice(at, 0, { parent, token, total: sum });
        found.length = Math.min(found.length, most);
      }
    });
    return found;
  }
}

/** translator of whole texts */
export class Translator extends Writer {
  private readonly source: Codec;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    this.source = new Codec(core.files.get("source.json"), "source.json");
    if (!isToken(core.metadata.encode!.inputs[0])) unfit("its source is of another kind");
  }

  protected override takeText(text: string): void {
    const task = this.core.metadata.task!, ids = this.source.encode(text);
    if (!ids.length) fail("input", "a translator needs at least one word; received none");
    if (flag(task, "reverse_source", false)) ids.reverse();
    if (flag(task, "source_end", true)) ids.push(END);
    this.stream.resetNow();
    this.stream.encodeNow(ids);
    this.write();
  }
}

/** captioner */
export class Captioner extends Writer {
  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    const [info] = core.metadata.encode!.inputs;
    if (info.time || info.dtype !== "float32") unfit("its source is of another kind");
  }

  protected override takeArray(values: ArrayLike<number>): void {
    const task = this.core.metadata.task!, [info] = this.core.metadata.encode!.inputs;
    const scale = real(task, "scale", 1), offset = real(task, "offset", 0);
    if (values.length !== info.elements) fail("input", `the array has ${values.length} numbers, expected ${info.elements}`);
    const wrongAt = Array.prototype.findIndex.call(values, (value: number) => !Number.isFinite(value));
    if (wrongAt >= 0) fail("input", `the array holds ${values[wrongAt]} at ${wrongAt}, expected finite numbers`);
    this.stream.resetNow();
    this.stream.encodeNow(Float32Array.from(values, (value) => value * scale + offset));
    this.write();
  }
}

/** translator that reads k units, then writes one for each that it reads */
export class SimultaneousTranslator extends TextSession {
  private readonly source: Codec;
  private readonly k: number;
  private read = 0;
  private written = 0;
  private unfinished: number[] = [];

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options, 100);
    this.source = new Codec(core.files.get("source.json"), "source.json");
    this.k = whole(core.metadata.task!, "wait_k", 1, 1024);
    const names = core.metadata.inputs.map((info) => info.name).sort();
    if (names.join() !== "source,target") unfit("it does not take source and target in turns");
  }

  protected override takeText(text: string): void {
    this.end();
    this.take(this.source.encode(text));
    this.end();
  }

  protected override takeWord(word: string): void {
    this.take(this.source.encode(word));
  }

  /** Reads units; the last of them is whole. */
  private take(ids: number[]): void {
    ids.forEach((id, i) => {
      const row = this.after(this.stream, { source: id, target: PAD });
      if (i + 1 < ids.length && !this.source.beginsUnit(ids[i + 1])) return;
      this.read++;
      if (this.read >= this.k) this.write(row, false);
    });
  }

  private write(row: Row, isEnded: boolean): void {
    for (let isFirst = true; this.written < this.limit; isFirst = false) {
      const token = best(Float64Array.from(row, (value, i) => (i <= START ? -Infinity : value)));
      if (token === END || (!isFirst && !isEnded && this.target.beginsUnit(token))) return;
      if (this.unfinished.length && this.target.beginsWord(token)) this.tellWord();
      this.unfinished.push(token);
      this.written++;
      row = this.after(this.stream, { source: PAD, target: token });
    }
  }

  protected override end(): void {
    if (this.read) {
      const closing = flag(this.core.metadata.task!, "source_end", true) ? END : PAD;
      this.write(this.after(this.stream, { source: closing, target: PAD }), true);
      if (this.unfinished.length) this.tellWord();
    }
    this.read = this.written = 0;
    this.unfinished = [];
    this.stream.resetNow();
  }

  private tellWord(): void {
    this.tell({ event: "translatedword", word: this.target.decode(this.unfinished), read: this.read });
    this.unfinished = [];
  }
}
