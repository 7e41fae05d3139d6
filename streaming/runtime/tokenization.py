"""Running English text into sentences and words, as the English web treebank of UD splits them.

The cost is linear in the length of any text: look-ahead is either bounded, by the length of addresses (RFC 5321, RFC
1035), or consumed without backtracking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ABBREVIATIONS = (
    "mr|mrs|ms|dr|prof|sr|jr|st|inc|ltd|co|corp|vs|etc|eg|ie|no|fig|gen|sen|rep|gov|capt|col|lt|sgt|rev|hon|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun|ave|blvd|rd|dept|est|approx"
)
# These may well end a sentence; the others announce a name or a number.
_MAY_END = {"etc", "inc", "ltd", "co", "corp", "jr", "sr", "st", "ave", "blvd", "rd", "dept"}

_TOKEN = re.compile(
    rf"""
      (?P<link>(?:https?://|ftp://|www\.)\S*[\w/=&\#-] | [\w.+-]{{1,64}}+@[\w-]++(?:\.[\w-]++)+ |
               (?:[\w-]{{1,63}}+\.){{1,10}}(?:com|org|net|edu|gov|co\.uk|html?)\b(?:/\S*[\w/])?)
    | (?P<smile>(?<!\w)[:;=8][-o']?[()DPp\[\]/\\|](?!\w) | <3(?!\w))
    | (?P<initials>(?:[A-Za-z]\.){{2,}} | (?<![\w'’])[A-Z]\.(?=\s+[A-Z]))
    | (?P<short>\b(?:{_ABBREVIATIONS})\.(?!\w))
    | (?P<number>(?:(?<!\w)[+-]?|(?<=[$£€\#]))\d+(?:[.,:/-]\d+)*(?:(?:st|nd|rd|th|s|k|m|x)\b)?
               (?![^\W\d_]) | \.\d+(?!\w))
    | (?P<word>[^\W_](?:[\w]|[&](?=\w)|['’](?=\w))*)
    | (?P<clitic>['’](?:s|m|d|re|ve|ll|em|til|cause|\d\ds?)(?!\w))
    | (?P<run>[!?]{{2,}} | (?P<same>[.*_=~\#-])(?P=same)+ | ``|'' | -+> | <-+)
    | (?P<other>\S)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NOT = re.compile(r"(.+)(n['’]t)", re.IGNORECASE)
_CLITIC = re.compile(r"(.+?)(['’](?:s|m|d|re|ve|ll))", re.IGNORECASE)
_FUSED = {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "gimme": 3, "lemme": 3, "dunno": 2}
_CLOSING = frozenset(")]}»”’") | {"''"}
_STRAIGHT = ('"', "'")


def tokenize(text: str) -> list[str]:
    """The words of a text, in order; nothing but white space is lost.

    Punctuation and hyphens stand alone; `don't` becomes `do` and `n't`, `John's` becomes `John` and `'s`;
    abbreviations, numbers, addresses and smileys stay whole.
    """
    return list(iter_words(text))


def iter_words(text: str) -> Iterator[str]:
    """Tokens of `tokenize` as an iterator, for callers that need only the first."""
    for match in _TOKEN.finditer(text):
        yield from _split(match)


def _split(match: re.Match[str]) -> list[str]:
    token = match.group()
    if match.lastgroup != "word":
        return [token]
    if cut := _FUSED.get(token.lower()):
        return [token[:cut], token[cut:]]
    clitic = _NOT.fullmatch(token) or _CLITIC.fullmatch(token)
    return [clitic.group(1), clitic.group(2)] if clitic else [token]


def sentences(text: str) -> list[list[str]]:
    """The words of each sentence of a text.

    A sentence ends at a blank line, or at `.`, `!`, `?` or `...` (with quotes and brackets closed) unless the
    next word begins in lower case.
    """
    return [sentence for block in re.split(r"\n\s*\n", text) for sentence in _sentences(tokenize(block))]


def _sentences(words: list[str]) -> list[list[str]]:
    sentences: list[list[str]] = []
    start, i, opened = 0, 0, set[str]()
    while i < len(words):
        _count(words[i], opened)
        i += 1
        if not _ends(words[i - 1]):
            continue
        while i < len(words) and (words[i] in _CLOSING or words[i] in opened):
            _count(words[i], opened)
            i += 1
        if i == len(words) or not words[i][0].islower():
            sentences.append(words[start:i])
            start = i
            opened.clear()
    return [*sentences, words[start:]] if start < len(words) else sentences


def _count(word: str, opened: set[str]) -> None:
    # A straight quote closes only what one like it has opened.
    if word in _STRAIGHT:
        opened ^= {word}


def _ends(word: str) -> bool:
    return word[-1] in ".!?…" and (set(word) <= set(".!?…") or word[:-1].lower() in _MAY_END)
