"""Checks molecules written as SMILES (Weininger 1988): grammar, rings, valences, and double bonds of aromatic rings."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from rnnzoo.errors import DataError
from rnnzoo.tasks.evaluation import mean

_TOKEN = re.compile(
    r"(?P<bracket>\[(?P<isotope>\d*)(?P<symbol>[A-Z][a-z]?|[bcnops]|se|as)(?P<chiral>@{0,2})(?P<hydrogens>H\d?)?"
    r"(?P<charge>[+-]\d|\++|-+)?\])|(?P<atom>Br|Cl|[BCNOPSFI]|[bcnops])|(?P<bond>[-=#:/\\])|(?P<ring>\d|%\d\d)"
    r"|(?P<open>\()|(?P<close>\))|(?P<dot>\.)"
)
_ORDERS = {"-": 1, "=": 2, "#": 3, "/": 1, "\\": 1}
# A bond without a sign between two aromatic atoms, and one that says it is aromatic.
_AROMATIC = 0
# Valences that an atom may have, and the elements in the order of their outer electrons: a charge moves along it.
_VALENCES = {"B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "P": (3, 5), "S": (2, 4, 6), "I": (1, 3, 5)}
_VALENCES |= {"Si": (4,), "Se": (2, 4, 6), "As": (3, 5), "Cl": (1,), "Br": (1,), "H": (1,)}
_ROWS = (("B", "C", "N", "O", "F"), ("Si", "P", "S", "Cl"), ("As", "Se", "Br"))


@dataclass
class Atom:
    """An atom: its element, charge, hydrogens (None: as many as fit), and the orders of its bonds by neighbour."""

    symbol: str
    aromatic: bool
    charge: int = 0
    hydrogens: int | None = None
    bonds: dict[int, int] = field(default_factory=dict)


def read_molecule(smiles: str) -> list[Atom]:
    """The atoms of a molecule.

    Raises:
        DataError: it is no SMILES, an atom has too many bonds, or an aromatic ring has no alternating double bonds.
    """
    atoms = _parse(smiles)
    rings = _ring_bonds(atoms)
    for i, atom in enumerate(atoms):
        for other, order in list(atom.bonds.items()):
            # Between two rings, a bond without a sign is a single one.
            if order == _AROMATIC and frozenset((i, other)) not in rings:
                atom.bonds[other] = 1
    within = frozenset().union(*rings)
    for i, atom in enumerate(atoms):
        if atom.aromatic and i not in within:
            raise DataError(f"{smiles!r}: atom {i + 1} is aromatic and in no ring")
    single = [i for i, atom in enumerate(atoms) if _needs_double(atom, smiles)]
    if not _paired(atoms, set(single)):
        raise DataError(f"{smiles!r}: no alternating double bonds fit the aromatic atoms")
    return atoms


def is_valid(smiles: str) -> bool:
    """Whether a text is a molecule, of one atom or more."""
    try:
        return bool(read_molecule(smiles))
    except DataError:
        return False


def molecule_figures(drawn: Sequence[str], known: Collection[str]) -> dict[str, float]:
    """Figures of molecules that were drawn (Polykovskiy et al. 2020).

    Args:
        drawn: texts.
        known: the molecules of the training split.

    Returns:
        `valid`, the share that are molecules; `unique`, the share of different ones among these; `novel`, the share of
        these that the training split does not have, letter by letter.
    """
    valid = [text for text in drawn if is_valid(text)]
    different = set(valid)
    return {
        "valid": len(valid) / len(drawn),
        "unique": len(different) / len(valid) if valid else float("nan"),
        "novel": mean([text not in known for text in different]),
    }


def _parse(smiles: str) -> list[Atom]:
    atoms: list[Atom] = []
    branches: list[int] = []
    rings: dict[str, tuple[int, str | None]] = {}
    last: int | None = None
    bond: str | None = None
    place, opened = 0, False
    while place < len(smiles):
        found = _TOKEN.match(smiles, place)
        if found is None:
            raise DataError(f"{smiles!r}: {smiles[place]!r} at place {place + 1} is no part of a SMILES")
        place = found.end()
        kind, text = found.lastgroup, found.group()
        if found["bracket"] or found["atom"]:
            atoms.append(_atom(found))
            if last is not None:
                _join(atoms, last, len(atoms) - 1, bond, smiles)
            elif bond is not None:
                raise DataError(f"{smiles!r} begins with a bond")
            last, bond, opened = len(atoms) - 1, None, False
            continue
        if last is None or (opened and kind != "bond") or (bond is not None and kind != "ring"):
            raise DataError(f"{smiles!r}: an atom is missing before {text!r} at place {place}")
        if kind == "bond":
            bond = text
        elif kind == "ring":
            number = text.lstrip("%").zfill(2)
            if number in rings:
                other, sign = rings.pop(number)
                if sign and bond and sign != bond:
                    raise DataError(f"{smiles!r}: ring {text} has two kinds of bonds")
                _join(atoms, other, last, bond or sign, smiles)
            else:
                rings[number] = last, bond
            bond = None
        elif kind == "open":
            branches.append(last)
            opened = True
        elif kind == "close":
            if not branches:
                raise DataError(f"{smiles!r}: ) without (")
            last = branches.pop()
        else:
            last = None
    if branches or rings or bond is not None or (atoms and last is None):
        raise DataError(f"{smiles!r} is not complete: a branch, a ring or a bond is open")
    return atoms


def _atom(found: re.Match[str]) -> Atom:
    symbol = found["symbol"] or found["atom"]
    element = symbol.capitalize()
    if element not in _VALENCES:
        raise DataError(f"{found.string!r}: the valence of {element} is not known here")
    if found["atom"]:
        return Atom(element, symbol.islower())
    hydrogens, charge = found["hydrogens"] or "", found["charge"] or ""
    size = int(charge[1:]) if charge[1:].isdigit() else len(charge)
    count = int(hydrogens[1:] or 1) if hydrogens else 0
    return Atom(element, symbol.islower(), -size if charge.startswith("-") else size, count)


def _join(atoms: list[Atom], one: int, other: int, sign: str | None, smiles: str) -> None:
    if one == other or other in atoms[one].bonds:
        raise DataError(f"{smiles!r}: atoms {one + 1} and {other + 1} are bound twice")
    both = atoms[one].aromatic and atoms[other].aromatic
    order = (_AROMATIC if both else 1) if sign in (None, ":") else _ORDERS[sign or "-"]
    atoms[one].bonds[other] = atoms[other].bonds[one] = order


def _ring_bonds(atoms: list[Atom]) -> set[frozenset[int]]:
    """The bonds that lie in a ring: those that are no bridges (Tarjan 1974)."""
    seen: dict[int, int] = {}
    low: dict[int, int] = {}
    rings: set[frozenset[int]] = set()
    for root in range(len(atoms)):
        if root in seen:
            continue
        seen[root] = low[root] = len(seen)
        stack = [(root, -1, iter(atoms[root].bonds))]
        while stack:
            here, before, ways = stack[-1]
            for there in ways:
                if there == before:
                    continue
                if there in seen:
                    low[here] = min(low[here], seen[there])
                    rings.add(frozenset((here, there)))
                    continue
                seen[there] = low[there] = len(seen)
                stack.append((there, here, iter(atoms[there].bonds)))
                break
            else:
                stack.pop()
                if before >= 0:
                    low[before] = min(low[before], low[here])
                    if low[here] <= seen[before]:
                        rings.add(frozenset((here, before)))
    return rings


def _needs_double(atom: Atom, smiles: str) -> bool:
    """Whether an aromatic atom takes part in a double bond; raises DataError where an atom has too many bonds."""
    used = sum(max(order, 1) for order in atom.bonds.values()) + (atom.hydrogens or 0)
    allowed = _valences(atom)
    if not allowed or used > max(allowed):
        raise DataError(f"{smiles!r}: {atom.symbol} has {used} bonds, at most {max(allowed, default=0)} fit")
    if not atom.aromatic:
        return False
    # What is left of the least valence that holds the bonds makes a double bond; a carbon has a hydrogen beside it.
    least = min(valence for valence in allowed if valence >= used)
    return least > used


def _valences(atom: Atom) -> tuple[int, ...]:
    """Valences of an atom: with a charge, those of the element with as many electrons."""
    if not atom.charge:
        return _VALENCES[atom.symbol]
    for row in _ROWS:
        if atom.symbol in row:
            place = row.index(atom.symbol) - atom.charge
            return _VALENCES[row[place]] if 0 <= place < len(row) else ()
    return ()


def _paired(atoms: list[Atom], single: set[int]) -> bool:
    """Whether each of these atoms can be paired with one of its aromatic neighbours among them."""
    if not single:
        return True
    options = {i: [j for j, order in atoms[i].bonds.items() if order == _AROMATIC and j in single] for i in single}
    # The atom with the fewest ways first: most have one.
    first = min(single, key=lambda i: (len(options[i]), i))
    return any(_paired(atoms, single - {first, other}) for other in options[first])
