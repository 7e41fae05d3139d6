"""Where the project and what belongs to its tests lie."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
DOCS = ROOT / "docs"
SHARED = ROOT.parent / "shared"
