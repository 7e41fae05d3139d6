#!/usr/bin/env python3
"""Write docs/gallery.md: what models say, write and draw, each from its own streaming file; nothing is trained."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import streaming
from rnnzoo.errors import RnnzooError
from rnnzoo.registry.layout import bundle_paths, root
from rnnzoo.util.quiet import quiet_tensorflow
from streaming.errors import StreamingError

PAGE, PICTURES = "docs/gallery.md", "docs/gallery"
HEAD = """# Gallery

One picture or some lines of each model that has something to show, from the file that users get.
`python tools/make_gallery.py` wrote this page; the cards behind the names say how good the models are.
"""
STORY = "Mary went to the kitchen . John took the milk there . Mary travelled to the garden . Where is Mary ?"


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    quiet_tensorflow()
    lines = [HEAD]
    try:
        for name, (what, show) in EXHIBITS.items():
            print(f"showing {name} ...", flush=True)
            shown = show(streaming.pipeline(bundle_paths()[name]))
            lines += [f"## {what}", "", f"[`{name}`](../pretrained/{name}/card.md)", "", shown, ""]
        path = root() / PAGE
        path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8", newline="\n")
    except (RnnzooError, StreamingError, OSError) as error:
        print(f"make_gallery: error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


def block(*lines: str) -> str:
    """Lines as they are."""
    return "\n".join(["```text", *(line for text in lines for line in text.splitlines()), "```"])


def picture(name: str, what: str, draw: Callable[[Path], Any]) -> str:
    """A picture beside the page."""
    draw(root() / PICTURES / f"{name}.png")
    return f"![{what}](gallery/{name}.png)"


def drawings(sketcher: Any) -> str:
    from rnnzoo.tasks.drawing import draw_sketches

    made = [np.array([point[1:4] for point in sketcher.sketch(seed=seed)], float) for seed in range(1, 25)]
    return picture("draw-kanji", "Characters that nobody wrote", lambda path: draw_sketches(path, made))


def chorale(generator: Any) -> str:
    from rnnzoo.tasks.composer.composing import Composer
    from rnnzoo.tasks.drawing import draw_chords

    chords = Composer(generator, seed=5, tries=8).compose(64)
    shown = picture("compose-chorales", "The notes of a chorale", lambda path: draw_chords(path, chords))
    return f"{shown}\n\n`rnnzoo compose --seed 5 --chords 64 --out chorale.mid --out chorale.wav` lets it be heard."


def molecules(generator: Any) -> str:
    return block(*(generator.generate(seed=seed) for seed in range(6)))


def play(generator: Any) -> str:
    return block("ROMEO:" + generator.generate("ROMEO:", max_length=300, temperature=0.7, seed=2))


def answer(classifier: Any) -> str:
    return block(STORY, classifier.classify(STORY.split()).label)


def names(classifier: Any) -> str:
    found = {
        name: classifier.classify(list(name)) for name in ("Nakamura", "Rossi", "Kowalski", "O'Brien", "Papadopoulos")
    }
    return block(*(f"{name}: {label.label} ({label.score:.2f})" for name, label in found.items()))


def digit(classifier: Any) -> str:
    """A seven, drawn with a pen: to the right, then down to the left."""
    right, down = [(8 * i, 0) for i in range(10)], [(72 - 4 * i, -12 * i) for i in range(1, 13)]
    places = np.array(right + down, float)
    rows = np.c_[np.diff(places, axis=0, prepend=places[:1]), places, np.arange(len(places)) == len(places) - 1]
    session, lines = classifier.session(), []
    for number, row in enumerate(rows.astype("float32"), 1):
        event = session.feed(row[None])[-1]
        if number % 4 == 0 or number == len(rows):
            x, y = places[number - 1]
            lines.append(f"{number:3} movements, at ({x:3.0f}, {y:4.0f}): {event.label} {event.score:.2f}")
    return block(*lines)


def translation(translator: Any) -> str:
    text = "Zwei Hunde spielen am Strand ."
    return block(text, translator.translate(text))


# Model -> what it shows, and how.
EXHIBITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "draw-kanji": ("Characters, stroke by stroke", drawings),
    "compose-chorales": ("A chorale in four voices", chorale),
    "molecules": ("Molecules, as SMILES", molecules),
    "charlm-lstm": ("A play, after `ROMEO:`", play),
    "qa-babi": ("A question about a story", answer),
    "handwriting-digits": ("A seven, while it is drawn", digit),
    "names-language": ("Names and their languages", names),
    "translate-de-en": ("A translation", translation),
}

if __name__ == "__main__":
    sys.exit(main())
