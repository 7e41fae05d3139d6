"""Streaming files of a bundle: its own if they are current, otherwise converted once to the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from pathlib import Path

import rnnzoo
import streaming
from rnnzoo.bundles.reference import REFERENCE_FILE, prove
from rnnzoo.errors import ConfigError, RnnzooError
from rnnzoo.hub.manifest import hash_file
from rnnzoo.registry.layout import KINDS
from rnnzoo.runs.store import WEIGHTS_FILE, read_files, read_metrics
from rnnzoo.util.cache import cache_root
from streaming.errors import ArtifactError
from streaming.runtime.model import StreamingModel

# Of the largest value: what streams on another processor or runtime may differ by.
TOLERANCE = 1e-4
_MAKERS = ("tensorflow", "keras", "ai-edge-litert", "numpy")


def cache_folder(bundle: Path) -> Path:
    """Cache folder of the files of a bundle; it changes with the bundle, the code and the libraries."""
    return cache_root() / "demo" / fingerprint(bundle)


def load_ready(bundle: Path) -> dict[str, StreamingModel] | None:
    """The bundle's own files by kind; None unless they belong to its weights and encoder and pass its reference."""
    try:
        models = {kind: streaming.load(bundle / f"{kind}.tflite") for kind in KINDS}
        made = read_metrics(bundle).get("made") or {}
        encoder = read_files(bundle).items()
        if made.get("weights") != hash_file(bundle / WEIGHTS_FILE):
            return None
        if any(model.files.get(name) != data for model in models.values() for name, data in encoder):
            return None
        proof = prove(models["float32"], bundle / REFERENCE_FILE)
    except (ArtifactError, RnnzooError, OSError):
        return None
    error = proof.max_relative_error
    return models if error is not None and error <= TOLERANCE else None


def load_cached(folder: Path) -> dict[str, StreamingModel] | None:
    """The models in a cache folder by kind; None where it is not there or damaged."""
    try:
        return {kind: streaming.load(folder / f"{kind}.tflite") for kind in KINDS}
    except ArtifactError:
        return None


def convert_bundle(bundle: Path, folder: Path) -> dict[str, StreamingModel]:
    """Convert a bundle to every kind, each verified, and put the files in the cache together.

    Raises:
        ConfigError: the cache cannot be written, or the folder is not a bundle.
        DataError: the bundle is damaged.
    """
    from rnnzoo.runs.export import export_kind
    from rnnzoo.runs.store import load_run

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
    except OSError as error:
        raise ConfigError(
            f"cannot write the cache {folder.parent} ({error.strerror}); set RNNZOO_CACHE to a folder you own"
        ) from error
    try:
        run = load_run(bundle)
        for kind in KINDS:
            export_kind(run, part / f"{kind}.tflite", kind)
        shutil.rmtree(folder, ignore_errors=True)
        # Another process that was quicker has put the same files there.
        with contextlib.suppress(OSError):
            os.rename(part, folder)
        return {kind: streaming.load(folder / f"{kind}.tflite") for kind in KINDS}
    finally:
        shutil.rmtree(part, ignore_errors=True)


def fingerprint(bundle: Path) -> str:
    """A hash of the bundle's files, the code that builds and converts, and the versions of its libraries."""
    code = Path(rnnzoo.__file__).parent, Path(streaming.__file__).parent
    files = sorted(path for path in bundle.iterdir() if path.is_file())
    for package in code:
        files += sorted(package.rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    for name in _MAKERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    return digest.hexdigest()[:16]
