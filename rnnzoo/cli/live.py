"""A tagged sentence that grows on the screen: words above, their tags below as they are decided."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import zip_longest

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from streaming.runtime.tasks import TaggedWord, Tagger

# Content words are bright, the small ones are not.
COLORS = {
    "NOUN": "bright_blue",
    "PROPN": "bright_cyan",
    "VERB": "bright_green",
    "AUX": "green",
    "ADJ": "bright_magenta",
    "ADV": "magenta",
    "PRON": "bright_yellow",
    "DET": "yellow",
    "ADP": "dark_orange",
    "NUM": "cyan",
    "INTJ": "bright_red",
    "PUNCT": "grey62",
    "SYM": "grey62",
}
_OTHER = "orange3"
_LONGEST = 24


def show_sentence(console: Console, tagger: Tagger, words: list[str], pace: float) -> None:
    """Stream one sentence to the console.

    Args:
        console: a terminal gets two coloured rows that grow; anything else `word/TAG`, one sentence on each line.
        tagger: a session of the task.
        words: the sentence.
        pace: 1: words arrive at about the speed of speech; 0: at once.
    """
    if not console.is_terminal:
        for i, token in enumerate(tagger.stream(words)):
            console.file.write(f"{' ' if i else ''}{printable(token.word)}/{token.tag}")
            console.file.flush()
        console.file.write("\n")
        console.file.flush()
        return
    heard: list[str] = []
    decided: list[TaggedWord] = []
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:

        def arrive() -> Iterator[str]:
            for word in words:
                heard.append(word)
                live.update(layout(heard, decided, console.width), refresh=True)
                if pace:
                    time.sleep(pace * (0.09 + 0.02 * min(len(word), 10)))
                yield word

        for token in tagger.stream(arrive()):
            decided.append(token)
            live.update(layout(heard, decided, console.width), refresh=True)
            if pace and len(heard) == len(words):
                time.sleep(pace * 0.12)


def layout(heard: list[str], decided: list[TaggedWord], width: int) -> Group:
    """Rows of words with their tags beneath, broken at the width; a word without a tag is dim."""
    rows: list[tuple[Text, Text]] = [(Text(), Text())]
    for word, token in zip_longest(heard, decided):
        tag, color = (token.tag, COLORS.get(token.tag, _OTHER)) if token else ("·", "dim")
        word = printable(word)
        if cell_len(word) > _LONGEST:
            word = set_cell_size(word, _LONGEST - 1) + "…"
        size = max(cell_len(word), cell_len(tag))
        above, below = rows[-1]
        if above.cell_len and above.cell_len + size > width:
            rows.append((Text(), Text()))
            above, below = rows[-1]
        above.append(set_cell_size(word, size) + "  ", style=f"bold {color}" if token else "dim")
        below.append(set_cell_size(tag, size) + "  ", style=color)
    for row in (text for pair in rows for text in pair):
        row.rstrip()
    return Group(*(text for pair in rows for text in pair))


def printable(word: str) -> str:
    """The word with control characters of terminals made visible."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in word)
