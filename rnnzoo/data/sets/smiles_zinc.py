"""Drug-like molecules of ZINC as SMILES (Polykovskiy et al. 2020)."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "smiles_zinc"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_PAGE = "https://github.com/molecularsets/moses"

register_terms(
    _NAME,
    title="Molecular Sets (MOSES), a tenth of its molecules",
    licence="MIT",
    citation=(
        "Polykovskiy et al. (2020), Molecular Sets (MOSES): A Benchmarking Platform for Molecular Generation Models, "
        "Frontiers in Pharmacology"
    ),
    url=_PAGE,
)


@register_dataset(_NAME, "lines")
def read_molecules(config: DataConfig) -> Splits:
    """90,000 molecules, a SMILES each, without charges and stereo marks; none is in two splits."""
    return {split: [(row["smiles"].decode(), None) for row in rows(_NAME, name)] for name, split in _SPLITS.items()}


class SmilesZinc(PackedFiles):
    """The SMILES of a molecule; MIT."""

    VERSION = "1.0.0"
    FILES = {
        "moses_train.smi.gz": "1417c60070b5a2a2381f8b5e968c2a593aac1dfabecaac526d9748b57b73360c",
        "moses_dev.smi.gz": "f2f8f9715169e8e099f9b5afd0cbe3753235d07a689923c91cb6ebac5f551a1f",
        "moses_test.smi.gz": "2172b8bcfc368d72044122be6af4500b5fe43afae4960b90bbf3734815a1d050",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        features = tfds.features.FeaturesDict({"smiles": tfds.features.Text()})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {name: self._generate_examples(paths[f"moses_{split}.smi.gz"]) for name, split in _SPLITS.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        with gzip.open(path, "rt", encoding="ascii") as file:
            for i, line in enumerate(file):
                yield i, {"smiles": line.strip()}
