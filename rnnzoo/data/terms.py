"""Licences and citations of data sets, which cards and the manifest repeat."""

from __future__ import annotations

from typing import NamedTuple

from rnnzoo.data.source import known_datasets
from rnnzoo.errors import DataError


class Terms(NamedTuple):
    """Title, licence (its SPDX name, or several with AND), citation and address of a data set."""

    title: str
    licence: str
    citation: str
    url: str


# By the name in a configuration, or its beginning.
_TERMS: dict[str, Terms] = {}


def register_terms(dataset: str, *, title: str, licence: str, citation: str, url: str) -> None:
    """Register the terms of a data set; without them, a model trained on it cannot be published.

    Args:
        dataset: its name as `data.dataset` says it, or the beginning of its names.
        title: its name in cards.
        licence: its SPDX name, such as `CC-BY-4.0`; several that apply together with ` AND ` between.
        citation: authors, year, title and place.
        url: its page.
    """
    _TERMS[dataset] = Terms(title, licence, citation, url)


def terms_of(dataset: str) -> Terms:
    """The terms of the data set that a configuration names.

    Raises:
        DataError: they are not known here: a model made from it cannot be published.
    """
    known_datasets()  # imports every data set, and with it what it says of its terms
    terms = next((item for name, item in _TERMS.items() if dataset.startswith(name)), None)
    if terms is None:
        raise DataError(
            f"the terms of {dataset!r} are not known; register them (rnnzoo.data.register_terms) before you publish a "
            "model"
        )
    return terms
