"""Molecules as SMILES: what a chemistry toolkit (RDKit) takes and refuses, and the figures of drawn ones."""

import gzip

import pytest

from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import DataError
from rnnzoo.tasks.sequence_generator.smiles import is_valid, molecule_figures, read_molecule

# Judged by RDKit 2026.09.1.
VALID = """
C CCO C#N O=C=O CC(C)(C)C C1CC1 C1CCC2CCCCC2C1 FC(F)(F)c1ccccc1 c1ccncc1 c1cc[nH]c1 c1ccsc1 c1ccoc1 Cc1ccn(C)n1
c1ccc2ccccc2c1 c1ccc(-c2ccccc2)cc1 c1ccc(c2ccccc2)cc1 O=c1cc[nH]cc1 Cn1c(=O)c2nc[nH]c2n(C)c1=O CS(=O)(=O)N CP(=O)(O)O
[NH4+] C[N+](C)(C)C CC(=O)[O-] [O-][n+]1ccccc1 O=[N+]([O-])c1ccccc1 N[C@@H](C)C(=O)O F/C=C/F C%10CCCCC%10 C=1CC=1
c1cnc2c(c1)cccn2 O=C1NC(=O)c2ccccc21 CCl BrCCBr [13CH4] CC.O c1ccc2c(c1)Cc1ccccc1-2 [SiH3]C CI(C)C c1cc2cccc3c2c(c1)C=C3
""".split()
INVALID = """
C(C C) C1CC c1ccnc1 c1cccc1 cc c1ccccc1( C=C=(C) CC(C)(C)(C)C O(C)(C)C FF(F) C==C C= =C (C)C C() C11 C1C1 [X]
[Na N(C)(C)(C)C Cl(C)C c1ccc1c C#C#C O=CC(=O)(O)C() C[N+](C)(C)(C)C c1cc[nH]cc1 cC n1ccccc1C1 C12CC1 Q C. 1CC1 ..
""".split()


@pytest.mark.parametrize("smiles", VALID)
def test_molecules_are_valid(smiles):
    assert is_valid(smiles)


@pytest.mark.parametrize("smiles", [*INVALID, ""])
def test_what_is_no_molecule_is_not_valid(smiles):
    assert not is_valid(smiles)


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("CC(", "not complete"),
        ("C1CC", "not complete"),
        ("CC?", "'\\?' at place 3 is no part of a SMILES"),
        ("CN(C)(C)C", "N has 4 bonds, at most 3 fit"),
        ("c1ccnc1", "no alternating double bonds fit"),
        ("CcC", "atom 2 is aromatic and in no ring"),
        ("C)", r"\) without \("),
        ("=C", "atom is missing before '='"),
        ("C11", "bound twice"),
        ("[Xe]", "the valence of Xe is not known"),
    ],
)
def test_a_mistake_is_one_line(smiles, message):
    with pytest.raises(DataError, match=message) as error:
        read_molecule(smiles)
    assert "\n" not in str(error.value)


def test_the_molecules_of_the_data_are_valid():
    mirror = find_mirror()
    if mirror is None:
        pytest.skip("no mirror: RNNZOO_DATA_MIRROR names none")
    with gzip.open(mirror / "smiles_zinc" / "moses_test.smi.gz", "rt") as file:
        lines = file.read().split()[:1000]
    with gzip.open(mirror / "smiles_zinc" / "zinc250k_valid.smi.gz", "rt") as file:
        lines += file.read().split()[:1000]
    assert [line for line in lines if not is_valid(line)] == []


def test_figures_count_each_molecule_once():
    drawn = ["CCO", "CCO", "CCN", "C(", "CCC"]
    figures = molecule_figures(drawn, {"CCN"})
    assert figures == pytest.approx({"valid": 0.8, "unique": 0.75, "novel": 2 / 3})
