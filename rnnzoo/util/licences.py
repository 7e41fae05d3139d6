"""Licences by their SPDX names (spdx.org/licenses), with their requirements and restrictions.

`LicenseRef-...` are those that SPDX does not list. A data set may be under several: `Apache-2.0 AND Unicode-3.0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Licence(NamedTuple):
    """title; url of the text; asks: its requirements on users of the data, as text; restriction: what it forbids."""

    title: str
    url: str
    asks: str = ""
    restriction: str = ""


OWN = "Apache-2.0"
_NAME, _ALIKE = (
    "Name the authors.",
    "Name the authors, and publish what you adapt from the data under the same licence.",
)
_CC = "https://creativecommons.org/licenses"
LICENCES = {
    "Apache-2.0": Licence("Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0", "Keep the notice."),
    "MIT": Licence("MIT License", "https://spdx.org/licenses/MIT.html", "Keep the notice."),
    "BSD-3-Clause": Licence("BSD 3-Clause License", "https://spdx.org/licenses/BSD-3-Clause.html", "Keep the notice."),
    "CC0-1.0": Licence("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "CC-BY-2.0": Licence("CC BY 2.0", f"{_CC}/by/2.0/", _NAME),
    "CC-BY-3.0": Licence("CC BY 3.0", f"{_CC}/by/3.0/", _NAME),
    "CC-BY-4.0": Licence("CC BY 4.0", f"{_CC}/by/4.0/", _NAME),
    "CC-BY-ND-4.0": Licence(
        "CC BY-ND 4.0", f"{_CC}/by-nd/4.0/", "Name the authors; publish no changed version of the data."
    ),
    "CC-BY-SA-2.0": Licence("CC BY-SA 2.0", f"{_CC}/by-sa/2.0/", _ALIKE),
    "CC-BY-SA-3.0": Licence("CC BY-SA 3.0", f"{_CC}/by-sa/3.0/", _ALIKE),
    "CC-BY-SA-4.0": Licence("CC BY-SA 4.0", f"{_CC}/by-sa/4.0/", _ALIKE),
    "ODC-By-1.0": Licence("ODC-BY 1.0", "https://opendatacommons.org/licenses/by/1-0/", _NAME),
    "Unicode-3.0": Licence(
        "Unicode License 3.0", "https://www.unicode.org/license.txt", "Keep the notice: (c) 2025 Unicode, Inc."
    ),
    "LicenseRef-Flickr30K": Licence(
        "the terms of Flickr30K",
        "https://shannon.cs.illinois.edu/DenotationGraph/",
        restriction="for non-commercial research and education only",
    ),
    "LicenseRef-public-domain": Licence("public domain", "https://creativecommons.org/publicdomain/mark/1.0/"),
    "LicenseRef-none-stated": Licence(
        "no licence stated", "", "No licence is stated; the music is in the public domain."
    ),
}


def parts(expression: str) -> list[str]:
    """The names in an SPDX expression of licences that apply together."""
    return [part.strip() for part in expression.split(" AND ")]


def together(expressions: Iterable[str]) -> str:
    """One expression for all of them, each licence once."""
    return " AND ".join(dict.fromkeys(part for expression in expressions for part in parts(expression)))


def licence_of_weights(data: str) -> str:
    """The licence of weights trained on data: this project's, or that of data with a restriction."""
    forbidding = [name for name in parts(data) if name in LICENCES and LICENCES[name].restriction]
    return together(forbidding) if forbidding else OWN


def restriction(expression: str) -> str:
    """The restrictions of licences as text; empty for most."""
    licences = [LICENCES[name] for name in parts(expression) if name in LICENCES]
    return "; ".join(f"{item.restriction} ({item.title})" for item in licences if item.restriction)


def linked(expression: str) -> str:
    """The licences in Markdown, each with a link to its text."""
    known = [(name, LICENCES.get(name, Licence(name, ""))) for name in parts(expression)]
    return " and ".join(f"[{item.title}]({item.url})" if item.url else item.title for _, item in known)


def asked(expression: str) -> str:
    """The requirements of licences on those who use the data or publish derived work, in sentences."""
    licences = [LICENCES[name] for name in parts(expression) if name in LICENCES]
    lines = [item.asks for item in licences if item.asks]
    lines += [f"Use the data and the weights {item.restriction}." for item in licences if item.restriction]
    return " ".join(dict.fromkeys(lines))
