/** Prefix beam search of connectionist temporal classification (Hannun et al. 2014), row by row. */

import { logAdd } from "./numeric.js";

/** A prefix, and the log probabilities of it ending in a blank and in its last token. */
interface Prefix {
  tokens: readonly number[];
  blank: number;
  spoken: number;
}

const total = (prefix: Prefix) => logAdd(prefix.blank, prefix.spoken);

export class PrefixBeam {
  private kept: Prefix[] = [{ tokens: [], blank: 0, spoken: -Infinity }];

  constructor(
    private readonly blank: number,
    private readonly width: number,
  ) {}

  /** Takes the log probabilities of a row. */
  row(scores: ArrayLike<number>): void {
    const found = new Map<string, Prefix>();
    const at = (tokens: readonly number[]): Prefix => {
      const key = tokens.join(" ");
      if (!found.has(key)) found.set(key, { tokens, blank: -Infinity, spoken: -Infinity });
      return found.get(key)!;
    };
    for (const prefix of this.kept) {
      const { tokens, blank, spoken } = prefix, both = total(prefix), last = tokens.at(-1);
      const same = at(tokens);
      same.blank = logAdd(same.blank, both + scores[this.blank]);
      if (last !== undefined) same.spoken = logAdd(same.spoken, spoken + scores[last]);
      for (let token = 0; token < scores.length; token++) {
        if (token === this.blank) continue;
        const longer = at([...tokens, token]);
        longer.spoken = logAdd(longer.spoken, (token === last ? blank : both) + scores[token]);
      }
    }
    const sorted = [...found.values()].sort((a, b) => total(b) - total(a)).slice(0, this.width);
    this.kept = sorted.filter((prefix) => total(prefix) > -Infinity);
  }

  /** The most probable text, and its log probability. */
  best(): { tokens: readonly number[]; score: number } {
    const first = this.kept.reduce((a, b) => (total(b) > total(a) ? b : a));
    return { tokens: first.tokens, score: total(first) };
  }
}
