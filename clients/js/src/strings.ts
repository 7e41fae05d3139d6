/** Tables of strings: the ids of words and texts for models that begin with a lookup. docs/format.md, "table of strings". */

import { fail } from "./errors.js";
import { fingerprint64, siphash24 } from "./hashing.js";

const MAX_NGRAM = 32, MAX_LENGTH = 65536, LARGEST = 2 ** 31 - 1, SHOWN = 60;
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
const STANDARDIZE = [null, "lower", "strip_punctuation", "lower_and_strip_punctuation"], SPLIT = [null, "whitespace", "character"];

type Json = Record<string, unknown>;

interface Bins {
  bins: number;
  masked: string | null;
  key: [bigint, bigint] | null;
}

/** What gives the ids of strings, as the steps of an input take them. */
export class Table {
  private readonly words = new Map<string, number>();
  private readonly unknown: number | null = null;
  private readonly first: number = 0;
  private readonly hash: Bins | null = null;
  private readonly text: { lower: boolean; strip: boolean; split: string | null; ngrams: number[]; cut: boolean } | null = null;
  /** Ids of a text, which is one step then; null: each token is a step. */
  readonly length: number | null = null;

  /** Throws where the content is no table. */
  private constructor(content: string) {
    const found = JSON.parse(content) as Json, { kind } = found;
    need(found.version === 1 && ["lookup", "hash", "text"].includes(kind as string));
    // Numbers of 64 bits are more than JSON.parse keeps. Strings hold no such text: quotes in them have a backslash.
    const key = /"key"\s*:\s*\[\s*(-?\d+)\s*,\s*(-?\d+)\s*\]/.exec(content);
    if (kind === "hash") {
      this.hash = bins(found, key);
      return;
    }
    const { words, unknown, others } = found;
    need(isObject(words));
    for (const [word, id] of Object.entries(words as Json)) this.words.set(word, whole(id, 0));
    this.unknown = unknown === null ? null : whole(unknown, 0);
    if (others != null) {
      need(isObject(others));
      this.first = whole(found.first, 0);
      this.hash = bins(others as Json, key);
      whole(this.first + this.hash.bins, 1);
    }
    if (kind === "lookup") return;
    const { standardize, split, ngrams, length, cut } = found, how = String(standardize);
    need(STANDARDIZE.includes(standardize as string) && SPLIT.includes(split as string) && typeof cut === "boolean");
    need(ngrams === null || (Array.isArray(ngrams) && ngrams.length > 0 && ngrams.length <= MAX_NGRAM));
    this.length = length === null ? null : whole(length, 1, MAX_LENGTH);
    const sizes = ((ngrams as unknown[] | null) ?? [1]).map((size) => whole(size, 1, MAX_NGRAM));
    this.text = { lower: how.includes("lower"), strip: how.includes("strip"), split: split as string | null, ngrams: sizes, cut: cut as boolean };
  }

  /** The table of an associated file. */
  static read(data: Uint8Array | undefined, name: string): Table {
    try {
      if (data) return new Table(new TextDecoder("utf-8", { fatal: true }).decode(data));
    } catch {
      // Whatever is wrong with it, it is none.
    }
    return fail("file", `${name} is no table of words that this version reads; convert the model again`);
  }

  /** Whether an input of a shape takes the ids: of texts a step each, or one step of so many. */
  fits(elements: number): boolean {
    return this.text ? elements === (this.length ?? 1) : elements > 0;
  }

  /** The ids of strings, one after the other; `name` is the input's. */
  ids(texts: readonly string[], name: string): number[] {
    return texts.flatMap((text) => {
      if (/\p{Surrogate}/u.test(text)) fail("input", `input ${name} holds half of a surrogate pair, which is no text`);
      return this.text ? this.idsOfText(text, name) : [this.id(text, name)];
    });
  }

  private id(text: string, name: string): number {
    const known = this.words.get(text) ?? this.unknown;
    if (known !== null) return known;
    if (this.hash) return this.first + bin(this.hash, text);
    const shown = text.length <= SHOWN ? text : `${text.slice(0, SHOWN)}...`;
    return fail("input", `input ${name} holds ${JSON.stringify(shown)}, which is none of the ${this.words.size} words it takes`);
  }

  private idsOfText(text: string, name: string): number[] {
    const { lower, strip, split, ngrams, cut } = this.text!;
    if (lower) text = text.replace(/[A-Z]/g, (c) => c.toLowerCase());
    if (strip) text = text.replace(PUNCTUATION, "");
    const tokens = split === "whitespace" ? text.split(/[\t-\r ]+/).filter(Boolean) : split === "character" ? Array.from(text) : [text];
    const found = ngrams.flatMap((size) => Array.from({ length: Math.max(0, tokens.length - size + 1) }, (_, i) => this.id(tokens.slice(i, i + size).join(" "), name)));
    if (this.length === null) return found;
    if (found.length > this.length && !cut) {
      fail("input", `input ${name} has a text of ${found.length} tokens, expected at most ${this.length}; shorten it, or convert the model with a larger max_length`);
    }
    return Array.from({ length: this.length }, (_, i) => found[i] ?? 0);
  }
}

function bin({ bins, masked, key }: Bins, text: string): number {
  const reserved = masked !== null && bins > 1;
  if (reserved && text === masked) return 0;
  const bytes = new TextEncoder().encode(text), h = key ? siphash24(bytes, key) : fingerprint64(bytes);
  return Number(h % BigInt(bins - Number(reserved))) + Number(reserved);
}

function bins(found: Json, key: RegExpExecArray | null): Bins {
  const { masked } = found;
  need(masked === null || typeof masked === "string");
  need(found.key === null || (Array.isArray(found.key) && found.key.length === 2 && key !== null));
  return { bins: whole(found.bins, 1), masked: masked as string | null, key: found.key === null ? null : [BigInt(key![1]), BigInt(key![2])] };
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function whole(value: unknown, least: number, most = LARGEST): number {
  need(Number.isInteger(value) && (value as number) >= least && (value as number) <= most);
  return value as number;
}

function need(condition: boolean): void {
  if (!condition) throw new TypeError();
}
