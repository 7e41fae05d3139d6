"""The zoo as a folder that any static web server, bucket or model hub can serve as the address of downloads."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

from rnnzoo.bundles.build import CARD_FILE, build_manifest
from rnnzoo.errors import ConfigError
from rnnzoo.hub import signing
from rnnzoo.hub.manifest import BundleInfo, Manifest, dump_manifest
from rnnzoo.registry.layout import CONFIG_FILE, MANIFEST, bundle_paths, root
from rnnzoo.runs.config import load_config
from rnnzoo.util import licences
from rnnzoo.util.files import replacing

# What model hubs call the tasks; the others have no name there.
_HUB_TASKS = {
    "captioner": "image-to-text",
    "classifier": "text-classification",
    "forecaster": "time-series-forecasting",
    "generator": "text-generation",
    "keyword_spotter": "audio-classification",
    "one_to_one": "token-classification",
    "tagger": "token-classification",
    "transcriber": "automatic-speech-recognition",
    "translator": "translation",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>rnnzoo: pretrained models</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}
td {{ padding: .2rem .8rem .2rem 0; vertical-align: top }} td:nth-child(3) {{ text-align: right }}</style>
<h1>rnnzoo: pretrained models</h1>
<p><code>RNNZOO_URL={address} rnnzoo download NAME</code></p>
<p><a href="try/index.html">Try them in this browser</a>, where the page for that has been put beside them.</p>
<table>
{rows}
</table>
</html>
"""
_README = """# Pretrained models of rnnzoo

Recurrent networks for Keras that stream as TFLite. Give this folder's address to `rnnzoo`, and it downloads from here
what the manifest lists, each file checked by its SHA-256:

```sh
RNNZOO_URL=ADDRESS rnnzoo download NAME
```

| model | what it is | MB |
| --- | --- | --- |
{rows}
"""


def publish_zoo(to: Path, *, private_key: str | None = None) -> Path:
    """Write manifest, bundles, cards and an index page; other files of the folder stay.

    The folder is an address for RNNZOO_URL once a server shows it. Its README.md, and that of each bundle, begin with
    the front matter that model hubs read, so that the same folder is a repository of one.

    Args:
        to: the folder; it is made where it is missing.
        private_key: signs the manifest, 32 bytes in base64; None: an existing signature of the same manifest is copied.

    Returns:
        The folder.

    Raises:
        ConfigError: there are no bundles here, or the folder cannot be written.
        HubError: the key is none.
    """
    bundles = bundle_paths()
    manifest = build_manifest()
    if not bundles:
        raise ConfigError(f"{root()} holds no pretrained models: work in a clone of the repository")
    try:
        for name, folder in bundles.items():
            (to / name).mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.iterdir()):
                shutil.copyfile(path, to / name / path.name)
            _write(to / name / "README.md", _front_matter(folder, manifest.bundles[name]) + _card(folder))
        abouts = {name: about(folder) for name, folder in bundles.items()}
        _write(to / "README.md", _hub_readme(manifest, abouts))
        _write(to / "index.html", _index(manifest, abouts))
        # Last: what it lists is there.
        _write_manifest(to, manifest, private_key)
    except OSError as error:
        raise ConfigError(f"cannot write {to} ({error.strerror}); choose another folder") from error
    return to


def _write_manifest(to: Path, manifest: Manifest, private_key: str | None) -> None:
    text, target = dump_manifest(manifest).encode(), to / "manifest.yaml"
    signature = target.with_name(target.name + signing.SUFFIX)
    known = root() / f"{MANIFEST}{signing.SUFFIX}"
    if private_key is not None:
        signature.write_bytes(signing.sign(text, private_key))
    elif known.is_file() and (root() / MANIFEST).read_bytes() == text:
        shutil.copyfile(known, signature)
    else:
        signature.unlink(missing_ok=True)
    _write(target, text.decode())


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _card(folder: Path) -> str:
    return (folder / CARD_FILE).read_text(encoding="utf-8")


def about(folder: Path) -> str:
    """The first paragraph of a card, on one line."""
    return " ".join(_card(folder).split("\n\n")[1].split())


def _front_matter(folder: Path, bundle: BundleInfo) -> str:
    config = load_config(folder / CONFIG_FILE)
    lines = [*_licence_lines(bundle.licence), "library_name: keras"]
    # A classifier of rows is none of texts.
    if (task := _HUB_TASKS.get(config.topology)) and getattr(config.data, "input", "") != "rows":
        lines.append(f"pipeline_tag: {task}")
    elif config.topology == "forecaster":
        lines.append(f"pipeline_tag: {_HUB_TASKS['forecaster']}")
    tags = ["recurrent-neural-network", "streaming", "tflite", config.topology.replace("_", "-")]
    return "\n".join(["---", *lines, "tags:", *(f"- {tag}" for tag in tags), "---", "", ""])


def _licence_lines(licence: str) -> list[str]:
    """The licence as model hubs read it: names that they do not know are `other`, with a name and a link."""
    if not licence.startswith("LicenseRef-"):
        return [f"license: {licence.lower()}"]
    known = licences.LICENCES.get(licence, licences.Licence(licence, ""))
    name = licence.removeprefix("LicenseRef-").lower()
    return ["license: other", f"license_name: {name}", f"license_link: {known.url}"]


def _hub_readme(manifest: Manifest, abouts: dict[str, str]) -> str:
    kinds = sorted({bundle.licence for bundle in manifest.bundles.values()})
    lines = _licence_lines(kinds[0]) if len(kinds) == 1 else ["license: other"]
    head = ["---", *lines, "library_name: keras", "---", "", ""]
    rows = [
        f"| [{name}]({name}/README.md) | {abouts[name]} | {bundle.size / 1e6:.1f} |"
        for name, bundle in sorted(manifest.bundles.items())
    ]
    return "\n".join(head) + _README.format(rows="\n".join(rows))


def _index(manifest: Manifest, abouts: dict[str, str]) -> str:
    rows = [
        f'<tr><td><a href="{name}/{CARD_FILE}">{html.escape(name)}</a><td>{html.escape(abouts[name])}'
        f"<td>{bundle.size / 1e6:.1f} MB"
        for name, bundle in sorted(manifest.bundles.items())
    ]
    return _PAGE.format(rows="\n".join(rows), address="this page's address")
