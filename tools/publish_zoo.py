#!/usr/bin/env python3
"""Write the zoo to a folder that any static web server or bucket can serve as RNNZOO_URL; `--sign KEYFILE` signs it.

The folder is a repository of a model hub, too: its cards have the front matter that hubs read. Where the JavaScript
client is built (`npm install --prefix clients/js`), the folder `try` gets a page that runs the models in a browser.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from rnnzoo.bundles.publish import about, publish_zoo
from rnnzoo.errors import RnnzooError
from streaming.runtime import artifact

CLIENT = Path(__file__).resolve().parents[1] / "clients" / "js"
PAGE = "try"
WASM = ("litert_wasm_internal", "litert_wasm_compat_internal")
# Tasks for which the client has no session: it streams their steps alone.
STEPS_ALONE = {"synthesizer"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="an Ed25519 private key, 32 bytes in base64")
    arguments = parser.parse_args(argv)
    try:
        key = arguments.sign.read_text(encoding="ascii") if arguments.sign else None
        folder = publish_zoo(arguments.folder, private_key=key)
        add_page(folder, CLIENT)
    except (RnnzooError, OSError) as error:
        print(f"publish_zoo: error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {folder}: serve it, and set RNNZOO_URL to its address ({folder.resolve().as_uri()} for this machine)")
    return 0


def add_page(folder: Path, client: Path) -> None:
    """Put the page of the JavaScript client beside the bundles of a folder; a line says so where it is not built.

    The page fetches nothing from elsewhere: LiteRT.js and its wasm files lie beside it.
    """
    litert = client / "node_modules" / "@litertjs"
    if not (client / "dist" / "index.js").is_file() or not litert.is_dir():
        print("publish_zoo: the page is left out: run npm install --prefix clients/js first", file=sys.stderr)
        return
    page = folder / PAGE
    shutil.copytree(client / "demo", page, dirs_exist_ok=True)
    shutil.copytree(client / "dist", page / "streaming", ignore=shutil.ignore_patterns("*.ts"), dirs_exist_ok=True)
    (page / "litert" / "wasm").mkdir(parents=True, exist_ok=True)
    # Workers have no import maps: the one name that LiteRT.js imports becomes an address.
    text = (litert / "core" / "dist" / "index.js").read_text(encoding="utf-8")
    (page / "litert" / "index.js").write_text(
        text.replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"'), encoding="utf-8"
    )
    shutil.copyfile(litert / "wasm-utils" / "dist" / "index.js", page / "litert" / "wasm-utils.js")
    for name in WASM:
        for suffix in (".js", ".wasm"):
            shutil.copyfile(litert / "core" / "wasm" / (name + suffix), page / "litert" / "wasm" / (name + suffix))
    (page / "models.json").write_text(json.dumps(models(folder), ensure_ascii=False, indent=1), encoding="utf-8")


def models(folder: Path) -> list[dict[str, str | int]]:
    """What the page offers: the bundles of a folder that have a ready float32 file; a line says which it leaves out."""
    paths = []
    for path in sorted(folder.glob("*/float32.tflite")):
        task = (artifact.read(path).metadata.task or {}).get("kind")
        if task in STEPS_ALONE:
            print(f"publish_zoo: the page leaves out {path.parent.name}: it has no input for a {task}", file=sys.stderr)
        else:
            paths.append(path)
    return [
        {
            "name": path.parent.name,
            "about": about(path.parent),
            "url": f"../{path.parent.name}/{path.name}",
            "size": path.stat().st_size,
        }
        for path in paths
    ]


if __name__ == "__main__":
    sys.exit(main())
