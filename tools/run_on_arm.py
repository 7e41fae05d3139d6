"""Runs the C client under emulation of a 64-bit ARM processor, against test vectors of the published models.

Needs Debian's qemu-user-static, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and libstdc++6-arm64-cross; LiteRT for ARM
comes from the package index, in the version that is installed here. `make test-arm` runs it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import streaming
from streaming import vectors

ROOT = Path(__file__).resolve().parents[1]
EMULATOR, COMPILER, LIBRARIES = "qemu-aarch64-static", "aarch64-linux-gnu-gcc", Path("/usr/aarch64-linux-gnu/lib")
# Without a processor to read of, LiteRT ends when it counts cores.
PROCESSOR = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


def fetch_library(folder: Path) -> Path:
    """`libLiteRt.so` for ARM, out of the wheel."""
    version = importlib.metadata.version("ai-edge-litert")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (27, 17)]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *platforms]
    subprocess.run([*pip, f"ai-edge-litert=={version}", "-d", folder], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/libLiteRt.so"))
        (folder / "libLiteRt.so").write_bytes(archive.read(name))
    return folder / "libLiteRt.so"


def prepare(folder: Path) -> list[str]:
    """The command that runs the vectors' program, which is compiled into the folder."""
    (folder / "root" / "proc").mkdir(parents=True)
    (folder / "root" / "proc" / "cpuinfo").write_text(PROCESSOR)
    (folder / "root" / "lib").symlink_to(LIBRARIES)
    source = ROOT / "clients" / "c" / "tests" / "vectors.c"
    subprocess.run([COMPILER, "-std=c11", "-O2", "-o", folder / "vectors", source, "-ldl", "-lm"], check=True)
    return [EMULATOR, "-cpu", "cortex-a72", "-L", str(folder / "root"), str(folder / "vectors")]


def main() -> None:
    """Run all published models; the exit status is how many are wrong."""
    missing = [name for name in (EMULATOR, COMPILER) if shutil.which(name) is None]
    if missing or not LIBRARIES.exists():
        sys.exit(f"run_on_arm: {', '.join(missing) or LIBRARIES} is not installed; see tools/run_on_arm.py")
    wrong = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "STREAMING_LITERT": str(fetch_library(folder))}
        command = prepare(folder)
        for path in sorted((ROOT / "pretrained").glob("*/float32.tflite")):
            out = folder / "vectors.json"
            out.write_text(json.dumps(vectors.make_vectors(streaming.load(path)), allow_nan=False))
            ended = subprocess.run([*command, str(path), str(out)], capture_output=True, text=True, env=environment)
            wrong += ended.returncode != 0
            said = [line for line in ended.stderr.splitlines() if line.startswith("vectors:")]
            print(f"{path.parent.name}: {ended.stdout.strip() or '; '.join(said[:3]) or ended.returncode}")
    sys.exit(wrong)


if __name__ == "__main__":
    main()
