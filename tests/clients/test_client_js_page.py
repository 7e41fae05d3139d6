"""The JavaScript client in headless Chromium: vectors, and the page that is put beside a published zoo."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from client_js import package
from client_vectors import BUNDLES, ROOT, bundle_path, bundle_vectors, form
from scripts import load_script

import streaming
from streaming import vectors

playwright = pytest.importorskip("playwright.sync_api", reason="the extra `dev` is not installed")

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; on Debian: apt-get install chromium")
# Chromium's sandbox refuses to run as root. The microphone is a tone of the browser's own.
FLAGS = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
FLAGS += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
QUICK = ["tagger-en-ewt-stream", "digits-kws-stream", "translate-tatoeba-de-en", "translate-en-de-waitk", "anomaly-nab"]
SHOWN = [*QUICK, "caption-nlvr", "ecg-beats-stream", "charlm-lstm", "draw-kanji"]
WORDS = "The dog barks at a cat".split()
VECTORS = """
async ({ name, model, vectors }) => {
  const library = await import("/try/streaming/index.js"), { check } = await import("/vectors.mjs");
  const options = { litert: "/try/litert/index.js", wasm: "/try/litert/wasm/" };
  const opened = await library.open(model, options);
  const found = await check(opened, await (await fetch(vectors)).json(), library);
  opened.close();
  return found;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some bundles and the page, as the tool writes them; and the script that checks vectors."""
    tool = load_script("publish_zoo")
    made: Path = tmp_path_factory.mktemp("zoo")
    for name in SHOWN:
        (made / name).mkdir()
        for path in (bundle_path(name), ROOT / "pretrained" / name / "card.md"):
            (made / name / path.name).symlink_to(path)
    tool.add_page(made, package())
    shutil.copy(package() / "tests" / "vectors.mjs", made)
    return made


class Server(ThreadingHTTPServer):
    """Serves a folder, and remembers what was asked for."""

    asked: list[str]


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {
            **SimpleHTTPRequestHandler.extensions_map,
            ".wasm": "application/wasm",
            ".mjs": "text/javascript",
        }

        def log_message(self, *_: Any) -> None:
            pass

    found = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A page that asks this server alone, and has no error in its console."""
    context = browser.new_context(base_url=f"http://127.0.0.1:{server.server_port}", permissions=["microphone"])
    made, faults = context.new_page(), list[str]()
    made.set_default_timeout(60_000)
    made.on("pageerror", lambda error: faults.append(str(error)))
    made.on(
        "request",
        lambda request: (
            faults.append(request.url) if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")) else None
        ),
    )
    yield made
    context.close()
    assert not faults


def check(page: Any, folder: Path, pairs: dict[str, tuple[Path, Path]]) -> None:
    page.goto("/try/style.css")
    for name, (model, expected) in pairs.items():
        shutil.copy(model, folder / "model.tflite")
        shutil.copy(expected, folder / "vectors.json")
        # Files of one name in one second are the same to a browser's cache.
        given = {"name": name, "model": f"/model.tflite?{name}", "vectors": f"/vectors.json?{name}"}
        assert page.evaluate(VECTORS, given) == [], name


def test_vectors(page: Any, folder: Path) -> None:
    bundles = {name: (bundle_path(name), bundle_vectors(name)) for name in QUICK}
    check(page, folder, bundles | {kind: form(kind) for kind in ("internal", "kept")})


@pytest.mark.slow
def test_vectors_of_all_the_others(page: Any, folder: Path) -> None:
    check(page, folder, {name: (bundle_path(name), bundle_vectors(name)) for name in BUNDLES if name not in QUICK})


@pytest.fixture
def opened(page: Any) -> Callable[[str], Any]:
    """opened(name): the page with that model, ready."""

    def found(name: str) -> Any:
        page.goto("about:blank")
        page.goto(f"/try/index.html#{name}")
        page.wait_for_selector("#status[data-state=ready]")
        assert float(page.inner_text("#time").split()[0]) > 0
        return page

    return found


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(selector, "items => items.map(item => item.textContent)")
    return found


def test_words_are_tagged_as_they_are_typed(opened: Any) -> None:
    page = opened("tagger-en-ewt-stream")
    delay = int(page.inner_text("#delay").split()[0])
    page.type("#line", " ".join(WORDS) + " ")
    page.wait_for_function(f"document.querySelectorAll('.word').length == {len(WORDS) - delay}")
    page.press("#line", "Enter")
    page.wait_for_function(f"document.querySelectorAll('.word').length == {len(WORDS)}")
    tags = streaming.pipeline(bundle_path("tagger-en-ewt-stream")).tag(WORDS)
    assert texts(page, ".word small") == [item.tag for item in tags]


def test_texts_are_translated_and_written_on(opened: Any) -> None:
    page = opened("translate-tatoeba-de-en")
    page.fill("#line", "Ich bin müde.")
    page.press("#line", "Enter")
    page.wait_for_selector(".text:not(.given)")
    expected = streaming.pipeline(bundle_path("translate-tatoeba-de-en")).translate("Ich bin müde.")
    assert texts(page, ".text:not(.given)") == [getattr(expected, "text", expected)]
    page = opened("charlm-lstm")
    page.fill("#line", "ROMEO:")
    page.press("#line", "Enter")
    page.wait_for_function("document.querySelectorAll('.text:not(.given)').length > 50")


def test_pictures_and_curves_are_drawn(opened: Any) -> None:
    page = opened("caption-nlvr")
    draw(page)
    page.click("#send")
    page.wait_for_selector(".text")
    page = opened("ecg-beats-stream")
    draw(page, still=1.5)
    page.wait_for_selector(".word")
    page.fill("#line", "1 x")
    page.press("#line", "Enter")
    page.wait_for_selector("#message:not([hidden])")
    assert "numbers" in page.inner_text("#message")


def test_a_sketch_goes_on_from_what_was_drawn(opened: Any) -> None:
    page = opened("draw-kanji")
    own, added = [28, 30, 33], [20, 99, 200]
    draw(page)
    assert pixels(page, own) > 0 == pixels(page, added)
    page.click("#send")
    page.wait_for_function("document.querySelector('.event')?.textContent.endsWith('points, the end')")
    assert pixels(page, own) > 0 < pixels(page, added)
    page.click("#clear")
    page.wait_for_function("!document.querySelector('.event')")
    assert pixels(page, own) == 0 == pixels(page, added)
    page.click("#send")  # of nothing
    page.wait_for_function("document.querySelector('.event')?.textContent.endsWith('points, the end')")
    assert pixels(page, own) == 0 < pixels(page, added)


def pixels(page: Any, colour: list[int]) -> int:
    """How many pixels of the field have a colour."""
    script = """colour => {
      const pad = document.querySelector("#pad");
      const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
      let count = 0;
      for (let i = 0; i < data.length; i += 4) count += colour.every((value, j) => data[i + j] === value);
      return count;
    }"""
    return int(page.evaluate(script, colour))


def draw(page: Any, still: float = 0.0) -> None:
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 90, steps=5)
    page.wait_for_timeout(1000 * still)
    page.mouse.up()


def test_sound_from_a_file_and_from_the_microphone(opened: Any, tmp_path: Path) -> None:
    from client_vectors import wav

    found = json.loads(bundle_vectors("digits-kws-stream").read_text())["task"]
    (tmp_path / "voice.wav").write_bytes(wav(vectors.array_of(found["input"]["samples"]), 8000))
    page = opened("digits-kws-stream")
    page.set_input_files("#file", tmp_path / "voice.wav")
    keywords = [event["label"] for event in found["events"] if event["event"] == "keyword"]
    page.wait_for_function(f"document.querySelectorAll('.event').length >= {len(keywords)}")
    for label, line in zip(keywords, texts(page, ".event"), strict=False):
        assert label in line
    page.click("#speak")
    page.wait_for_selector("#speak[aria-pressed=true]")
    page.wait_for_timeout(500)
    page.click("#speak")
    page.wait_for_selector("#speak[aria-pressed=false]")
    assert page.is_hidden("#message")


def test_a_model_that_is_missing_is_a_line(page: Any, folder: Path) -> None:
    known = (folder / "try" / "models.json").read_text()
    (folder / "try" / "models.json").write_text(
        json.dumps([{"name": "gone", "about": "", "url": "../gone.tflite", "size": 1}])
    )
    page.goto("/try/index.html")
    page.wait_for_selector("#status[data-state=failed]")
    assert "404" in page.inner_text("#message")
    (folder / "try" / "models.json").write_text(known)
