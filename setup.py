"""Puts what the zoo holds into the wheel: configurations, manifest, results, and the smallest pretrained models.

In the repository they lie at the top level, where people look for them; `rnnzoo.registry.layout` finds them in either
place. All else about the package is in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CONFIGS, BUNDLES = "zoo_configs", "pretrained"
# For `rnnzoo demo`: the tagger's bundle itself is larger than all that is put into the wheel.
DEMO = Path(BUNDLES) / "tagger-en-ewt-stream" / "int8.tflite"
# Of the demo's file and whole bundles, the smallest first.
MAX_BYTES = 6_000_000


class BuildWithZoo(build_py):
    """`build_py`, and the files of the zoo in `rnnzoo/registry/zoo`."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for source, target in zoo_files().items():
                path = Path(self.build_lib) / "rnnzoo" / "registry" / "zoo" / target
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / source, path)


def zoo_files() -> dict[Path, Path]:
    """File of the repository -> its place in the folder of the zoo, both relative."""
    configs = [path.relative_to(ROOT) for path in sorted((ROOT / CONFIGS).rglob("*")) if path.is_file()]
    files = {path: path for path in configs}
    left = MAX_BYTES
    if (ROOT / DEMO).is_file():
        files[DEMO] = Path("demo") / f"{DEMO.parent.name}.tflite"
        left -= (ROOT / DEMO).stat().st_size
    bundles = [sorted(path.iterdir()) for path in (ROOT / BUNDLES).iterdir() if path.is_dir()]
    for bundle in sorted(bundles, key=_size):
        if _size(bundle) > left:
            break
        left -= _size(bundle)
        files |= {path.relative_to(ROOT): path.relative_to(ROOT) for path in bundle}
    return files


def _size(files: list[Path]) -> int:
    return sum(path.stat().st_size for path in files)


setup(cmdclass={"build_py": BuildWithZoo})
