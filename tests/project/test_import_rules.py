"""Who may import whom: DESIGN as a table, held against every import statement."""

import ast
import subprocess
import sys

import pytest
from places import ROOT

STANDARD = sys.stdlib_module_names | {"__future__"}
HEAVY = {"tensorflow", "keras"}

# Longest prefix wins. Third parties that a package may import anywhere in its files.
THIRD_PARTIES = {
    "streaming.conversion.drawing": {"numpy", "matplotlib"},
    "streaming.cli.microphone": {"numpy", "sounddevice"},
    "streaming.runtime.pictures": {"numpy", "PIL"},
    "streaming.runtime.audio.files": {"numpy", "soundfile"},
    "streaming": {"numpy"},
    "streaming.runtime": {"numpy", "ai_edge_litert", "tflite_runtime", "tflite_micro"},
    "streaming.server": {"numpy", "aiohttp", "prometheus_client"},
    "streaming.beam": {"numpy", "apache_beam"},
    "streaming._compat": {"keras"},
    "streaming._compat.tensorflow": {"keras", "tensorflow"},
    "streaming.conversion": {"numpy", "keras", "tensorflow", "ai_edge_litert", "flatbuffers", "h5py"},
    "rnnzoo.music": {"numpy"},
    "rnnzoo.music.midi": {"mido"},
    "rnnzoo.hub": {"numpy", "yaml", "safetensors", "rich"},
    "rnnzoo.hub.signing": {"cryptography"},
}
RUNS = {"rnnzoo.runs", "rnnzoo.bundles", "rnnzoo.papers"}
ABOVE_LAYERS = {"rnnzoo.data", "rnnzoo.tasks", "rnnzoo.training", *RUNS, "rnnzoo.registry", "rnnzoo.hub", "rnnzoo.cli"}
# Packages that must not be imported from one.
FORBIDDEN = {
    "streaming": {"rnnzoo"},
    "streaming.runtime": {"rnnzoo", "streaming.conversion", "streaming.server", "streaming.beam", "streaming._compat"},
    "rnnzoo.util": {"rnnzoo.layers", *ABOVE_LAYERS},
    "rnnzoo.music": {"rnnzoo.layers", *ABOVE_LAYERS},
    "rnnzoo.layers": ABOVE_LAYERS,
    "rnnzoo.registry": {"rnnzoo.layers", "rnnzoo.data", "rnnzoo.tasks", "rnnzoo.training", *RUNS, "rnnzoo.cli"},
    "rnnzoo.hub": {"rnnzoo.layers", "rnnzoo.data", "rnnzoo.tasks", "rnnzoo.training", *RUNS, "rnnzoo.cli"},
    "rnnzoo.data": {"rnnzoo.tasks", "rnnzoo.training", *RUNS, "rnnzoo.registry", "rnnzoo.hub", "rnnzoo.cli"},
    "rnnzoo.tasks": {"rnnzoo.training", *RUNS, "rnnzoo.registry", "rnnzoo.hub", "rnnzoo.cli"},
    "rnnzoo.training": {*RUNS, "rnnzoo.registry", "rnnzoo.hub", "rnnzoo.cli"},
    "rnnzoo.runs": {"rnnzoo.bundles", "rnnzoo.papers", "rnnzoo.cli"},
    "rnnzoo.papers": {"rnnzoo.bundles", "rnnzoo.cli"},
    "rnnzoo.bundles": {"rnnzoo.papers", "rnnzoo.cli"},
}
NOBODY = {"tools", "benchmarks", "tests"}

FILES = sorted(path for package in ("streaming", "rnnzoo") for path in (ROOT / package).rglob("*.py"))


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """(name, for types only) of all that a file imports, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, id(node) in typing_only


def inside(name, package):
    return name == package or name.startswith(f"{package}.")


def rules(table, name):
    return next((table[p] for p in sorted(table, key=len, reverse=True) if inside(name, p)), None)


@pytest.mark.parametrize("path", FILES, ids=[module_name(path) for path in FILES])
def test_imports_go_downwards(path):
    module = module_name(path)
    allowed = rules(THIRD_PARTIES, module)
    forbidden = set().union(*(FORBIDDEN[p] for p in FORBIDDEN if inside(module, p)), NOBODY)
    for name, typing_only in imports(path):
        top = name.split(".")[0]
        lazy_entry = module == "streaming" and name.startswith("streaming.conversion")
        if not typing_only and not lazy_entry:
            wrong = [package for package in forbidden if inside(name, package)]
            assert not wrong, f"{module} must not import {name}"
        if allowed is not None and top not in STANDARD | {"streaming", "rnnzoo"} and not typing_only:
            assert top in allowed, f"{module} must not import {top}"


def module_graph(files):
    """Module -> modules that it imports anywhere, for types only and inside functions too."""
    names = {module_name(path) for path in files}
    graph = {}
    for path in files:
        found = {next((n for n in (name, name.rpartition(".")[0]) if n in names), None) for name, _ in imports(path)}
        graph[module_name(path)] = found - {None, module_name(path)}
    return graph


def circles(graph):
    """The sets of modules that import one another, directly or by way of others."""

    def reached(start):
        seen, ahead = set(), [start]
        while ahead:
            for name in graph[ahead.pop()] - seen:
                seen.add(name)
                ahead.append(name)
        return seen

    reach = {name: reached(name) for name in graph}
    return {frozenset(other for other in reach[name] if name in reach[other]) for name in graph if name in reach[name]}


def test_no_import_goes_in_a_circle():
    found = {tuple(sorted(circle)) for circle in circles(module_graph(FILES))}
    assert not found, "imports in a circle: " + "; ".join(map(", ".join, found))


def test_a_circle_of_type_only_and_late_imports_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    texts = {
        "a": "from p.b import x\n",
        "b": "def f():\n    from p import c\n",
        "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import p.a\n",
        "d": "from p.a import y\n",
    }
    (tmp_path / "p").mkdir()
    for name, text in texts.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    assert circles(module_graph(sorted(tmp_path.rglob("*.py")))) == {frozenset({"p.a", "p.b", "p.c"})}


def test_the_table_would_catch_a_breach(tmp_path):
    source = tmp_path / "bad.py"
    source.write_text("def f():\n    import keras\n    from rnnzoo.tasks import x\n")
    assert [name for name, _ in imports(source)] == ["keras", "rnnzoo.tasks.x"]
    assert "keras" not in rules(THIRD_PARTIES, "streaming.runtime.model")
    assert rules(FORBIDDEN, "rnnzoo.layers.cell") == FORBIDDEN["rnnzoo.layers"]


BLOCKED = """
import importlib, pkgutil, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


def run(code, *arguments):
    return subprocess.run([sys.executable, "-c", BLOCKED + code, *arguments], capture_output=True, text=True, cwd=ROOT)


def test_the_runtime_needs_neither_tensorflow_nor_keras():
    done = run(
        "import streaming, streaming.runtime\n"
        "for item in pkgutil.walk_packages(streaming.runtime.__path__, 'streaming.runtime.'):\n"
        "    importlib.import_module(item.name)\n"
        "streaming.load, streaming.pipeline, streaming.Stream\n"
        "try:\n    streaming.convert\n"
        "except streaming.StreamingError as error:\n    print(error)\n"
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'rnnzoo[train]'" in done.stdout


def test_the_zoo_can_be_listed_without_tensorflow_or_keras():
    done = run("import rnnzoo\nprint(rnnzoo.list_models('tagger*'), rnnzoo.__version__)\n")
    assert done.returncode == 0, done.stderr
    assert "tagger-en-ewt-stream" in done.stdout


@pytest.mark.parametrize("package", ["streaming", "rnnzoo", "rnnzoo.cli", "rnnzoo.cli.demo", "rnnzoo.data"])
def test_importing_a_package_imports_nothing_heavy(package):
    code = f"import {package}\nprint(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run(
        [sys.executable, "-c", "import sys\n" + code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_packages_are_there_once_the_zoo_is_imported():
    code = (
        "import rnnzoo, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "assert rnnzoo.layers.LSTM(3).units == 3\n"
        "assert not hasattr(rnnzoo, 'layer')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_training_without_the_extra_says_what_to_install(tmp_path):
    config = next((ROOT / "zoo_configs").glob("*/tagger*.yaml"))
    done = run(f"from rnnzoo.cli import main\nsys.exit(main(['train', {str(config)!r}]))\n")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"rnnzoo: error: this needs {name}, which is not installed: pip install 'rnnzoo[train]'"
        for name in ("keras", "tensorflow")
        if name in done.stderr
    ]
    assert done.stderr
