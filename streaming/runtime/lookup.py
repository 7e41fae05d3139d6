"""Strings to ids: the text front end of a model whose input was a `StringLookup`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streaming.errors import ArtifactError, InputError

_VERSION = 1


@dataclass(frozen=True)
class LookupTable:
    """words: their ids; unknown: the id of any other string, None where there is none."""

    words: Mapping[str, int]
    unknown: int | None

    def to_bytes(self) -> bytes:
        """The associated file that holds it."""
        table = {"version": _VERSION, "kind": "lookup", "words": dict(self.words), "unknown": self.unknown}
        return json.dumps(table).encode()

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> LookupTable:
        """Read an associated file; raises ArtifactError where it is no such table."""
        try:
            table = json.loads(content)
            words, unknown = table["words"], table["unknown"]
            sound = table["version"] == _VERSION and table["kind"] == "lookup" and isinstance(words, dict)
            ids = [*words.values(), *([] if unknown is None else [unknown])]
            if sound and all(type(item) is int and 0 <= item < 2**31 for item in ids):
                return cls(words, unknown)
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ArtifactError(f"{name} is no table of words that this version reads; convert the model again")

    def ids(self, strings: np.ndarray, name: str, dtype: Any) -> np.ndarray:
        """The ids of strings, in their shape; raises InputError for what is no string, or unknown to the table."""
        found = []
        for item in strings.ravel().tolist():
            text = item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
            if not isinstance(text, str):
                raise InputError(f"input {name!r} holds {item!r}, expected strings")
            number = self.words.get(text, self.unknown)
            if number is None:
                raise InputError(
                    f"input {name!r} holds {text!r}, which is none of the {len(self.words)} words it takes"
                )
            found.append(number)
        return np.array(found, dtype).reshape(strings.shape)
