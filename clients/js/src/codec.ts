/** Running text to numbers and back: `source.json`, `target.json`. docs/format.md, "Text". */

import { fail } from "./errors.js";
import { SPACE_CLASS, WORD_CLASS, strip } from "./unicode.js";

export const PAD = 0, UNKNOWN = 1, START = 2, END = 3;
const SPACE = "\u2581";
const PIECE = new RegExp(`([${SPACE_CLASS}]*)([${WORD_CLASS}]+|[^${WORD_CLASS}${SPACE_CLASS}])`, "gu");
const WORD = new RegExp(`^[${WORD_CLASS}]`, "u");

interface Content {
  kind: "characters" | "words" | "subwords";
  lower: boolean;
  entries: string[];
  merges: [string, string][];
}

function read(data: Uint8Array | undefined, name: string): Content {
  if (!data) fail("file", `the file holds no ${name}; export the model anew`);
  try {
    const found = JSON.parse(new TextDecoder().decode(data)) as Content;
    const strings = (items: unknown): items is string[] => Array.isArray(items) && items.every((item) => typeof item === "string");
    const known = ["characters", "words", "subwords"].includes(found.kind) && typeof found.lower === "boolean";
    if (known && strings(found.entries) && found.entries.length > END && found.merges.every((pair) => strings(pair) && pair.length === 2)) return found;
  } catch {
    // Said below.
  }
  return fail("file", `${name} is damaged; export the model anew`);
}

export class Codec {
  readonly size: number;
  private readonly content: Content;
  private readonly ids: Map<string, number>;
  private readonly ranks: Map<string, number>;

  constructor(data: Uint8Array | undefined, name: string) {
    this.content = read(data, name);
    this.size = this.content.entries.length;
    this.ids = new Map(this.content.entries.map((entry, i) => [entry, i]));
    this.ranks = new Map();
    this.content.merges.forEach((pair, i) => {
      const key = pair.join("\0");
      if (!this.ranks.has(key)) this.ranks.set(key, i);
    });
  }

  /** The number of an entry. */
  number(entry: string): number | undefined {
    return this.ids.get(entry);
  }

  encode(text: string): number[] {
    const { kind, lower } = this.content, given = lower ? text.toLowerCase() : text;
    return this.parts(given, kind).map((part) => this.ids.get(part) ?? UNKNOWN);
  }

  private parts(text: string, kind: Content["kind"]): string[] {
    if (kind === "characters") return Array.from(text);
    const found = [...strip(text, false).replaceAll(SPACE, "_").matchAll(PIECE)];
    const parts = found.map((match) => (match[1] || match.index === 0 ? SPACE : "") + match[2]);
    return kind === "words" ? parts : parts.flatMap((part) => this.merged(Array.from(part)));
  }

  private merged(parts: string[]): string[] {
    for (;;) {
      let rank = Infinity, left = "", right = "";
      for (let i = 0; i + 1 < parts.length; i++) {
        const found = this.ranks.get(`${parts[i]}\0${parts[i + 1]}`) ?? Infinity;
        if (found < rank) [rank, left, right] = [found, parts[i], parts[i + 1]];
      }
      if (rank === Infinity) return parts;
      const joined: string[] = [];
      for (let i = 0; i < parts.length; i++) {
        if (parts[i] === left && parts[i + 1] === right) joined.push(left + parts[++i]);
        else joined.push(parts[i]);
      }
      parts = joined;
    }
  }

  /** The text of pieces that stand in a longer one. */
  text(ids: readonly number[]): string {
    const { kind, entries } = this.content;
    const shown = ids.filter((id) => id !== PAD && id !== START && id !== END);
    const text = shown.map((id) => (id === UNKNOWN && kind === "words" ? SPACE : "") + (entries[id] ?? "")).join("");
    return kind === "characters" ? text : text.replaceAll(SPACE, " ");
  }

  /** The text of pieces that stand alone. */
  decode(ids: readonly number[]): string {
    return this.content.kind === "characters" ? this.text(ids) : strip(this.text(ids));
  }

  beginsWord(id: number): boolean {
    const { kind, entries } = this.content;
    return kind === "characters" || (kind === "words" && id === UNKNOWN) || entries[id].startsWith(SPACE);
  }

  beginsUnit(id: number): boolean {
    return this.beginsWord(id) || !WORD.test(this.content.entries[id]);
  }
}
