/** Rows of logits to labels: the best of each row, or the best path of a chain. docs/format.md, "tagger". */

import { lines, type Core } from "./core.js";
import { fail } from "./errors.js";
import { best, sigmoid, softmax, type Row } from "./numeric.js";
import { unfit, type Event } from "./session.js";
import { flag, isObject, real, whole } from "./metadata.js";

export interface Labelled {
  label: number;
  score: number;
}

/** labels.txt, which has to name what the first output gives. */
export function labelsOf(core: Core): string[] {
  const data = core.files.get("labels.txt"), { shape, dtype } = core.metadata.outputs[0];
  const found = data ? lines(data) : [];
  if (!found.length || shape.length !== 1 || shape[0] !== found.length || dtype !== "float32") unfit("labels.txt has another number of labels");
  return found;
}

/** What makes predictions of rows. */
export function judge(core: Core): (row: Row) => Event {
  const labels = labelsOf(core), task = core.metadata.task!;
  const isMulti = flag(task, "multi_label", false), threshold = real(task, "threshold", 0.5);
  return (row) => {
    const scores = isMulti ? sigmoid(row) : softmax(row), first = best(scores);
    const held = isMulti ? labels.filter((_, i) => scores[i] >= threshold) : [];
    return { event: "prediction", label: labels[first], score: scores[first], ...(held.length ? { labels: held } : {}) };
  };
}

export interface LabelPath {
  /** The labels that a row settles. */
  row(row: Row): Labelled[];
  /** Those that are left at the end; the next row begins another sequence. */
  finish(): Labelled[];
}

export function labelPath(core: Core, labels: number): LabelPath {
  const file = core.files.get("transitions.json");
  if (file) return chain(file, labels, core.metadata.task!);
  return {
    row(row) {
      const scores = softmax(row), label = best(scores);
      return [{ label, score: scores[label] }];
    },
    finish: () => [],
  };
}

function chain(file: Uint8Array, labels: number, task: Record<string, unknown>): LabelPath {
  const damaged = (): never => fail("file", "transitions.json is damaged; export the model anew");
  let found: unknown;
  try {
    found = JSON.parse(new TextDecoder().decode(file));
  } catch {
    damaged();
  }
  const scores = (list: unknown): number[] => {
    if (!Array.isArray(list) || list.length !== labels || !list.every((value) => value === null || typeof value === "number")) return damaged();
    return list.map((value) => value ?? -Infinity);
  };
  if (!isObject(found) || !Array.isArray(found.transitions) || found.transitions.length !== labels) return damaged();
  const none = () => new Array<number>(labels).fill(0);
  const moves = found.transitions.map(scores);
  const start = found.start == null ? none() : scores(found.start), end = found.end == null ? none() : scores(found.end);
  return new Chain(moves, start, end, task.viterbi_delay == null ? Infinity : whole(task, "viterbi_delay", 0, 65536));
}

/** Viterbi on rows as they come; a label is settled once all paths that are possible agree on it, or `delay` rows later. */
class Chain implements LabelPath {
  private scores: number[] | null = null;
  /** Of each label: the labels that are not settled, on the best path that ends with it. */
  private paths: number[][] = [];
  private waiting: Float64Array[] = [];

  constructor(
    private readonly moves: number[][],
    private readonly start: number[],
    private readonly end: number[],
    private readonly delay: number,
  ) {}

  row(row: Row): Labelled[] {
    this.waiting.push(softmax(row));
    this.advance(row);
    const scores = this.scores!, alive = this.paths.filter((_, i) => scores[i] > -Infinity);
    const length = alive[0].length;
    let agreed = 0;
    while (agreed < length && alive.every((path) => path[agreed] === alive[0][agreed])) agreed++;
    let settled = alive[0].slice(0, agreed);
    if (length - agreed > this.delay) {
      settled = this.paths[best(scores)].slice(0, length - this.delay);
      this.paths.forEach((path, i) => {
        if (settled.some((label, at) => path[at] !== label)) scores[i] = -Infinity;
      });
    }
    this.paths = this.paths.map((path) => path.slice(settled.length));
    return this.scored(settled);
  }

  finish(): Labelled[] {
    if (!this.scores) return [];
    const ends = this.scores.map((score, i) => score + this.end[i]), last = best(ends);
    const found = this.scored(this.paths[ends[last] > -Infinity ? last : best(this.scores)]);
    this.scores = null;
    this.waiting = [];
    return found;
  }

  private advance(row: Row): void {
    const before = this.scores, paths = this.paths;
    const parents = this.start.map((_, j) => (before ? best(before.map((score, i) => score + this.moves[i][j])) : j));
    const next = this.start.map((score, j) => (before ? before[parents[j]] + this.moves[parents[j]][j] : score) + row[j]);
    const top = next[best(next)];
    if (!(top > -Infinity)) fail("input", "no path of labels is left: all transitions to this row are forbidden; export the model anew");
    this.scores = next.map((score) => score - top);
    this.paths = parents.map((parent, j) => [...(before ? paths[parent] : []), j]);
  }

  private scored(labels: number[]): Labelled[] {
    return labels.map((label) => ({ label, score: this.waiting.shift()![label] }));
  }
}
