# `make demo` and `make test` need Python 3.11 to 3.13 and a package index, nothing else.
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
DOCS_READY := $(VENV)/.ready-docs
MUTANTS_READY := $(VENV)/.ready-mutants
FUZZ_READY := $(VENV)/.ready-fuzz
# -qq: pip says nothing but errors.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install -qq -c constraints.txt

.PHONY: setup demo test test-jax test-slow lint bench soak fuzz clients figures mutants test-arm docs clean

setup: $(READY)

demo: $(READY)
	@$(BIN)/rnnzoo demo $(ARGS) </dev/null

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile $(ARGS)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The clients whose tools are here; tests of the others skip and say so.
clients: $(READY)
	@if command -v cmake >/dev/null; then \
	    cmake -S clients/c -B clients/c/build >/dev/null && cmake --build clients/c/build >/dev/null; \
	else \
	    echo "make: cmake is not installed; clients/c/build/stream is not built" >&2; \
	fi
	@if command -v npm >/dev/null; then \
	    npm install --prefix clients/js --loglevel=error || echo "make: npm cannot install; clients/js is not built" >&2; \
	else \
	    echo "make: npm is not installed; clients/js is not built" >&2; \
	fi
	$(BIN)/python -m pytest tests/clients -rs $(ARGS)

# The C client and the edge install under emulation; Debian: qemu-user-static gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstdc++6-arm64-cross.
test-arm: $(READY)
	$(BIN)/python tools/run_on_arm.py
	$(BIN)/python tools/run_python_on_arm.py aarch64
	$(BIN)/python tools/run_python_on_arm.py armhf

bench: $(BENCH_READY)
	$(BIN)/python -m benchmarks $(ARGS)

# An hour of everything at once: make soak ARGS="--minutes 5".
soak: $(READY)
	$(BIN)/python -m benchmarks.soak $(ARGS)

# Coverage-guided fuzzing of all foreign input: make fuzz ARGS="--minutes 30 wav csv".
fuzz: $(FUZZ_READY)
	$(BIN)/python tools/fuzz_guided.py $(ARGS)

# Changes of the code that no test notices: make mutants ARGS="--sample 20 streaming/runtime/decoding".
mutants: $(MUTANTS_READY)
	@$(BIN)/python tools/mutate.py $(ARGS)

# The layers on another backend of Keras.
test-jax: $(READY)
	@$(PIP) jax jaxlib
	$(BIN)/python -m pytest -m "not slow" tests/rnnzoo/layers/test_backends.py -k jax $(ARGS)

# Stored figures of the bundles that are measured in seconds, where the data are.
figures: $(READY)
	$(BIN)/python tools/make_results.py --check --fast $(ARGS)

docs: $(DOCS_READY)
	@$(BIN)/python tools/build_docs.py $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

define CHECK
import sys
name = "$(PYTHON)"
found = ".".join(map(str, sys.version_info[:2]))
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"make: {name} is Python {found}; Python 3.11 to 3.13 is needed: make PYTHON=python3.11 ...")
try:
    import ensurepip, venv
except ImportError:
    sys.exit(f"make: {name} cannot make environments; install its venv module (Debian: apt install python{found}-venv)")
endef
export CHECK

$(READY): pyproject.toml constraints.txt Makefile
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing into $(VENV) (some minutes at the first time) ..."
	@$(PIP) -e '.[train,dev,tflite]'
	@touch $@

$(DOCS_READY): $(READY)
	@echo "Installing what builds the documentation ..."
	@$(PIP) -e '.[docs]'
	@touch $@

$(MUTANTS_READY): $(READY)
	@echo "Installing what changes code ..."
	@$(PIP) -e '.[mutants]'
	@touch $@

$(FUZZ_READY): $(READY)
	@echo "Installing the fuzzer ..."
	@$(PIP) -e '.[fuzz]'
	@touch $@

$(BENCH_READY): $(READY)
	@echo "Installing the peers of the benchmarks ..."
	@$(PIP) -e '.[bench]'
	@touch $@
