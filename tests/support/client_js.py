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
# Without a registry npm shall say so soon.
NPM = ["npm", "install", "--ignore-scripts", "--prefer-offline", "--loglevel=error", "--fetch-retries=1"]
SECONDS = 120
_folder = tempfile.TemporaryDirectory()


def package() -> Path:
    """A copy of `clients/js`, compiled, with its dependencies; skips the test where node or the registry is missing."""
    reason = _built()
    if reason:
        pytest.skip(reason)
    return Path(_folder.name) / "js"


@functools.cache
def _built() -> str:
    """Why the package cannot be built here; "" where it is."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed"
    folder = Path(_folder.name) / "js"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist", "*.tgz"))
    # What `make clients` has installed is used; else the registry is asked.
    if (SOURCE / "node_modules" / "@litertjs").is_dir():
        (folder / "node_modules").symlink_to(SOURCE / "node_modules")
    else:
        try:
            found = subprocess.run(NPM, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"npm has not installed @litertjs/core in {SECONDS} s"
        if found.returncode:
            return f"npm cannot install @litertjs/core: {next(iter(found.stderr.split(chr(10))), '')}"
    subprocess.run(["node", "node_modules/typescript/bin/tsc"], cwd=folder, check=True, timeout=300)
    return ""
