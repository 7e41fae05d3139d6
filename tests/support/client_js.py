"""The JavaScript client, built once a process for the tests that need it."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from places import ROOT

SOURCE = ROOT / "clients" / "js"
_folder = tempfile.TemporaryDirectory()


@functools.cache
def package() -> Path:
    """A copy of `clients/js`, compiled, with its dependencies; skips the test where node or the registry is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = Path(_folder.name) / "js"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz"))
    # What `make clients` has installed is used; else the registry is asked.
    if (SOURCE / "node_modules" / "@litertjs").is_dir():
        (folder / "node_modules").symlink_to(SOURCE / "node_modules")
    else:
        command = [
            "npm",
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--loglevel=error",
        ]
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        if found.returncode:
            line = next(iter(found.stderr.strip().splitlines()), "it says nothing")
            pytest.skip(f"npm cannot install @litertjs/core: {line}")
    subprocess.run(["node", "node_modules/typescript/bin/tsc"], cwd=folder, check=True, timeout=300)
    return folder
