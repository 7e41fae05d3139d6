"""A small language on disk, and runs of a tagger trained on it."""

import numpy as np

from rnnzoo.runs.config import parse_config

COLOURS = {"red": "R", "blue": "B", "green": "G"}
CONFIG = """
name: colours
topology: tagger
seed: 1
data: {dataset: "conll:FOLDER", inputs: [words, chars], min_count: 1}
model: {word_size: 8, char_size: 4, char_filters: 4, char_widths: [2], affix_size: 0, conv_units: 8, units: 8,
        dropout: 0.0, input_dropout: 0.0, word_dropout: 0.0, lookahead: 1, context: 0}
training: {epochs: 3, batch_size: 16, learning_rate: 0.05}
"""


def write_colours(folder):
    """CoNLL-U files in which each word is tagged with the colour of the next one; returns the YAML of a tagger."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 150), ("dev", 20), ("test", 20)):
        lines = []
        for _ in range(count):
            words = [str(word) for word in rng.choice(list(COLOURS), rng.integers(2, 9))]
            tags = [COLOURS[word] for word in words[1:]] + ["END"]
            lines += [f"{i}\t{w}\t_\t{t}" for i, (w, t) in enumerate(zip(words, tags, strict=True), 1)] + [""]
        (folder / f"{split}.conllu").write_text("\n".join(lines) + "\n")
    return CONFIG.replace("FOLDER", str(folder))


def colours(folder):
    """(configuration, problem) of the small language."""
    from rnnzoo.runs.building import load_task

    config = parse_config(write_colours(folder), "colours")
    return config, load_task(config)
