"""caption-nlvr on the test part of NLVR: pictures out of a tar file (Pillow decodes PNG)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import oracle
import tasks
from PIL import Image

BUNDLE, KIND = "caption-nlvr", "image-captions"


def examples(data: Path, limit: int | None = None) -> list[tuple[np.ndarray, list[str]]]:
    """A picture (100, 400, 3) and its sentence."""
    folder = data / "nlvr_captions"
    rows = [line.split("\t") for line in (folder / "test_captions.tsv").read_text(encoding="utf-8").split("\n")[1:]]
    with tarfile.open(folder / "test_images.tar.gz") as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        pictures = {name: file.read() for name, file in files.items() if file is not None}
    return [
        (np.asarray(Image.open(io.BytesIO(pictures[row[0]])).convert("RGB")), [row[1]])
        for row in rows[:limit]
        if len(row) > 1
    ]


def figures(model: oracle.Model, rows: list[tuple[np.ndarray, list[str]]]) -> dict[str, float]:
    """BLEU of lower-cased captions against the one sentence."""
    written = [tasks.caption(model, model.meta["task"], picture)[0]["text"] for picture, _ in rows]
    score = oracle.bleu(written, [captions for _, captions in rows], lower=True)
    return {"bleu": score, "count": float(len(rows))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first pictures of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
