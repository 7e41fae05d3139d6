"""The scripts of `tools/` as modules."""

import importlib.util
import sys
from types import ModuleType

from places import ROOT

TOOLS = ROOT / "tools"
if str(TOOLS) not in sys.path:  # they import each other
    sys.path.append(str(TOOLS))


def load_script(name: str) -> ModuleType:
    """`tools/NAME.py`, loaded anew."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
