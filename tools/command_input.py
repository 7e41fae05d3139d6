"""What the command of a client reads on its standard input, for the task of test vectors."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np

from streaming import vectors


def command_input(found: dict[str, Any], rate: int = 8000) -> tuple[bytes, list[str]]:
    """The input of a task as a client's command reads it, and its options."""
    given = found["task"]["input"]
    if "words" in given:
        return (" ".join(given["words"]) + "\n").encode(), []
    if "text" in given:
        limit = ["--max-length", str(given["max_length"])] if "max_length" in given else []
        return (given["text"] + "\n").encode(), limit
    if "samples" in given:
        return wav(vectors.array_of(given["samples"]), rate), []
    rows = given["rows"] if "rows" in given else [vectors.array_of(given["array"]).ravel().tolist()]
    options = ["--temperature", "0", "--max-length", str(given["max_length"])] if "max_length" in given else []
    return "".join(" ".join("NaN" if x is None else repr(x) for x in row) + "\n" for row in rows).encode(), options


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Samples of int8 as a WAV file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.astype("<i2") * 256).tobytes())
    return buffer.getvalue()
