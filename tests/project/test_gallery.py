"""The gallery shows each of its models, with what the files say now."""

from places import ROOT
from scripts import load_script

import streaming
from rnnzoo.registry.layout import bundle_paths


def test_the_page_has_every_model_and_its_pictures():
    tool, page = load_script("make_gallery"), (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    for name in tool.EXHIBITS:
        assert f"[`{name}`]" in page
    for name in ("draw-kanji", "compose-chorales"):
        assert (ROOT / "docs" / "gallery" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    made = tool.molecules(streaming.pipeline(bundle_paths()["molecules"]))
    assert made in page
