/** Words to the numbers of a model. docs/format.md, "Words". */

import { lines } from "./core.js";
import { fail } from "./errors.js";
import { unfit } from "./session.js";
import { isDigit, isLetter, isUpper } from "./unicode.js";

const UNKNOWN = 1, AFFIXES = 8;

export type WordInput = "words" | "chars" | "affixes";
const INPUTS: readonly WordInput[] = ["words", "chars", "affixes"];

/** The eight affixes of a word: its last 1 to 4 and first 1 to 3 characters, and its shape. */
export function affixes(word: string): string[] {
  const plain = Array.from(word.toLowerCase().replace(/\p{Nd}+/gu, "0"));
  const kinds = Array.from(word, (c) => (isUpper(c) ? "X" : isLetter(c) ? "x" : isDigit(c) ? "d" : c));
  const shape = kinds.filter((kind, i) => i === 0 || kinds[i - 1] !== kind).slice(0, 10);
  const ends = [1, 2, 3, 4].map((n) => `-${n}${plain.slice(-n).join("")}`);
  const starts = [1, 2, 3].map((n) => `+${n}${plain.slice(0, n).join("")}`);
  return [...ends, ...starts, `=${shape.join("")}`];
}

export class WordEncoder {
  /** The arrays that the model takes. */
  readonly inputs: readonly WordInput[];
  readonly longest: number;
  private readonly ids: Record<WordInput, Map<string, number>>;

  constructor(files: ReadonlyMap<string, Uint8Array>) {
    const file = (name: string) => files.get(name) ?? fail("file", `the file holds no ${name}; export the model anew`);
    let found: { inputs?: unknown; max_word_length?: unknown } | null = null;
    try {
      found = JSON.parse(new TextDecoder().decode(file("features.json")));
    } catch {
      found = null;
    }
    const inputs = found?.inputs, longest = found?.max_word_length;
    if (!Array.isArray(inputs) || !inputs.every((name) => INPUTS.includes(name)) || !Number.isInteger(longest) || (longest as number) < 1) {
      fail("file", "features.json is damaged; export the model anew");
    }
    this.inputs = inputs;
    this.longest = longest as number;
    const numbered = (name: WordInput) => new Map(lines(file(`${name}.txt`)).map((entry, i) => [entry, i + 2]));
    this.ids = { words: numbered("words"), chars: numbered("chars"), affixes: numbered("affixes") };
  }

  /** How many ids a word has in an array. */
  size(input: WordInput): number {
    return input === "words" ? 1 : input === "chars" ? this.longest : AFFIXES;
  }

  encode(word: string, input: WordInput): Int32Array {
    if (typeof word !== "string" || word === "") fail("input", "a word is empty; leave it out");
    const id = (entry: string) => this.ids[input].get(entry) ?? UNKNOWN;
    if (input === "words") return Int32Array.of(id(word.toLowerCase()));
    if (input === "affixes") return Int32Array.from(affixes(word), id);
    const all = Array.from(word), half = Math.floor(this.longest / 2);
    const seen = all.length <= this.longest ? all : [...all.slice(0, half), ...all.slice(all.length - (this.longest - half))];
    const found = new Int32Array(this.longest);
    found.set(seen.map(id));
    return found;
  }

  /** Which array each input of a model is; one alone may have any name. */
  match(inputs: readonly { name: string; dtype: string; elements: number; time: boolean }[]): WordInput[] {
    if (inputs.length !== this.inputs.length) unfit("it takes other inputs than words, chars and affixes");
    return inputs.map((info) => {
      const found = inputs.length === 1 ? this.inputs[0] : this.inputs.find((name) => name === info.name);
      if (!found || info.dtype !== "int32" || !info.time || info.elements !== this.size(found)) return unfit("it takes other inputs than words, chars and affixes");
      return found;
    });
  }
}
