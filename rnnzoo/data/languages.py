"""The two languages in the name of a data set of translations."""

from __future__ import annotations

from rnnzoo.errors import DataError


def languages(name: str) -> tuple[str, str]:
    """Source and target of `NAME/en-de` or `NAME/de-en`; raises DataError for others."""
    source, _, target = name.partition("/")[2].partition("-")
    if {source, target} != {"en", "de"}:
        beginning = name.partition("/")[0]
        raise DataError(f"unknown data set {name!r}; known: {beginning}/en-de, {beginning}/de-en")
    return source, target
