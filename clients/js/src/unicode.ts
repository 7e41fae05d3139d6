/** Kinds of characters as docs/format.md means them: those of Python's str methods. */

/** White space, as in a class of a regular expression: `str.isspace`. JavaScript's \s has others. */
export const SPACE_CLASS = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
/** Characters of words: `str.isalnum`, and the underscore. */
export const WORD_CLASS = "\\p{L}\\p{N}_";

// Digits that are no decimal ones: superscripts, circled ones and their like.
const DIGITS =
  /[\p{Nd}\xb2\xb3\xb9\u1369-\u1371\u19da\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792\u{10a40}-\u{10a43}\u{10e60}-\u{10e68}\u{11052}-\u{1105a}\u{1f100}-\u{1f10a}]/u;

export function isUpper(character: string): boolean {
  return /\p{Uppercase}/u.test(character);
}

export function isLetter(character: string): boolean {
  return /\p{L}/u.test(character);
}

export function isDigit(character: string): boolean {
  return DIGITS.test(character);
}

const SPACE = new RegExp(`[${SPACE_CLASS}]`);

/** Without white space at the end, and at the beginning. */
export function strip(text: string, begin = true): string {
  let first = 0, end = text.length;
  while (end > 0 && SPACE.test(text[end - 1])) end--;
  while (begin && first < end && SPACE.test(text[first])) first++;
  return text.slice(first, end);
}
