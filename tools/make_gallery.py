#!/usr/bin/env python3
"""Write docs/gallery.md: what models say, write and draw, each from its own streaming file; nothing is trained."""

import argparse
import dataclasses
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


def styled(generator: Any) -> str:
    lines = []
    for style in ("Romeo and Juliet", "Richard III", "The Taming of the Shrew"):
        lines += [f"[{style}]", generator.generate(style=style, max_length=260, seed=3), ""]
    return block(*lines[:-1])


def sounds(synthesizer: Any) -> str:
    from rnnzoo.tasks.drawing import draw_sounds

    words, voices = synthesizer.spec.words, synthesizer.spec.voices
    made = {word: [synthesizer.frames(word, voice=voice, seed=1).rows for voice in voices[:2]] for word in words}
    what = f"Log-mel features of digits, said by {voices[0]} and below by {voices[1]}"
    shown = picture("say-digits", what, lambda path: draw_sounds(path, made, voices[:2]))
    said = "printf '4 2\\n7\\n' | streaming run pretrained/say-digits/float32.tflite - --voice theo --out said"
    return f"{shown}\n\n`{said}` lets them be heard."


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


def steering(controller: Any) -> str:
    """Arms with four payloads, driven by the file, and by the same file with a fresh state at every step."""
    from rnnzoo.data.problems import arm
    from rnnzoo.tasks.controller.task import stream_controller
    from rnnzoo.tasks.drawing import draw_paths

    rng, payloads, steps = np.random.default_rng(4), (0.0, 1.0, 2.0, 3.0), 2000
    episodes = [dataclasses.replace(arm.draw_episode(rng), payload=payload) for payload in payloads]
    ways = {
        "wanted": np.stack([arm.reference(episode, steps)[:, :2] for episode in episodes]),
        "with memory": arm.follow(episodes, steps, stream_controller(controller)),
        "without": arm.follow(episodes, steps, lambda simulation: stream_controller(controller)(simulation)),
    }
    boxes = {
        f"{payload:g} kg": {name: arm.tips(angles[i]) for name, angles in ways.items()}
        for i, payload in enumerate(payloads)
    }
    errors = {name: np.sqrt(np.mean((ways[name] - ways["wanted"])[:, 500:] ** 2, axis=(1, 2))) for name in ways}
    rows = [
        f"{payload:g} kg: {errors['with memory'][i]:.4f} rad with memory, {errors['without'][i]:.4f} without"
        for i, payload in enumerate(payloads)
    ]
    what = "Ways of the tip of an arm over two seconds, with four payloads that the model is not told"
    return picture("steer-arm", what, lambda path: draw_paths(path, boxes)) + "\n\n" + block(*rows)


def translation(translator: Any) -> str:
    text = "Zwei Hunde spielen am Strand ."
    return block(text, translator.translate(text))


# Model -> what it shows, and how.
EXHIBITS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "draw-kanji": ("Characters, stroke by stroke", drawings),
    "compose-chorales": ("A chorale in four voices", chorale),
    "molecules": ("Molecules, as SMILES", molecules),
    "charlm-lstm": ("A play, after `ROMEO:`", play),
    "lyrics-shakespeare": ("Passages in the manner of three plays", styled),
    "say-digits": ("Digits, said in two of five voices", sounds),
    "qa-babi": ("A question about a story", answer),
    "handwriting-digits": ("A seven, while it is drawn", digit),
    "steer-arm": ("An arm that finds out what it carries", steering),
    "names-language": ("Names and their languages", names),
    "translate-de-en": ("A translation", translation),
}

if __name__ == "__main__":
    sys.exit(main())
