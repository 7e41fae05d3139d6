"""The page in headless Chromium: what a person types comes out with its delay, and survives the server."""

import json
import os
import re
import shutil
import signal
import time

import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra `dev` is not installed")

from serving import convert_steps, convert_tagger, process  # noqa: E402

import streaming  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; on Debian: apt-get install chromium")

# Chromium's sandbox refuses to run as root.
FLAGS = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
WORDS = "The dog barks at a cat and sleeps".split()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser):
    """A page on which any message of the console fails the test."""
    made, faults = browser.new_page(), []
    made.set_default_timeout(60_000)
    made.on("pageerror", lambda error: faults.append(str(error)))
    yield made
    made.close()
    assert not faults


def until(holds, seconds=60):
    """Wait in this process: the page's policy lets nobody evaluate texts inside it."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def kept(page):
    """How many decided words the page has kept with its token."""
    found = json.loads(page.evaluate("sessionStorage.getItem('stream')"))
    return sum(len(sequence["decided"]) for sequence in found["view"]["sequences"])


def tags(page):
    """Words and tags as they are shown, those that wait without."""
    chips = page.locator(".word").all()
    return [tuple(re.split(r"\s+", chip.inner_text().strip())) for chip in chips]


def test_words_get_their_tags_and_outlive_the_server(page, tmp_path):
    path = convert_tagger(tmp_path / "tagger.tflite")
    expected = [(t.word, t.tag) for t in streaming.pipeline(path).tag(WORDS)]
    with process(path, "--port", "0") as (server, url):
        page.goto(url)
        page.wait_for_selector("#status[data-state=open]")
        assert page.inner_text("#delay") == "2 steps"
        page.type("#line", " ".join(WORDS[:4]) + " ")
        until(lambda: page.locator(".word:not(.waiting)").count() == 2)
        # Two words late: the last two wait.
        assert tags(page) == [*expected[:2], (WORDS[2], "…"), (WORDS[3], "…")]
        until(lambda: page.evaluate("sessionStorage.getItem('stream')"))
        server.send_signal(signal.SIGKILL)
        server.wait()
        page.wait_for_selector("#status[data-state=lost]")
        page.type("#line", " ".join(WORDS[4:6]) + " ")
    port = url.rsplit(":", 1)[1]
    with process(path, "--port", port):
        page.wait_for_selector("#status[data-state=open]", timeout=60_000)
        until(lambda: page.locator(".word:not(.waiting)").count() == 4)
        page.type("#line", " ".join(WORDS[6:]))
        page.press("#line", "Enter")
        until(lambda: page.locator(".word:not(.waiting)").count() == 8)
        assert tags(page) == expected
        # A page that is loaded again goes on as well.
        until(lambda: kept(page) == 8)
        page.reload()
        until(lambda: page.locator(".word:not(.waiting)").count() == 8)
        assert tags(page) == expected
        page.click("#reset")
        assert tags(page) == []


def test_numbers_are_drawn_and_mistakes_named(page, tmp_path):
    path = convert_steps(tmp_path / "steps.tflite")
    with process(path, "--port", "0") as (_, url):
        page.goto(url)
        page.wait_for_selector("#status[data-state=open]")
        page.fill("#line", "1, 2")
        page.press("#line", "Enter")
        page.wait_for_selector("#message:not([hidden])")
        assert "has shape (1, 2), expected float32 (steps, 5)" in page.inner_text("#message")
        for _ in range(3):
            page.fill("#line", "1, 2, 3, 4, 5")
            page.press("#line", "Enter")
        until(lambda: page.locator(".plot path").count() == 3)
        until(lambda: page.inner_text("#position") == "3")
        assert page.is_hidden("#message")
        page.click("#wave")
        until(lambda: int(page.inner_text("#position")) > 20)
        page.click("#wave")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colors_are_readable_and_controls_have_names(scheme, browser, tmp_path):
    path = convert_steps(tmp_path / "steps.tflite")
    with process(path, "--port", "0") as (_, url):
        page = browser.new_page(color_scheme=scheme)
        page.goto(url)
        page.wait_for_selector("#status[data-state=open]")
        for selector in ("h1", "#about", "#hint", "dt", "dd", "#send", "#reset", "#status"):
            assert contrast(page, selector) >= 4.5, selector
        for control in page.locator("input, button").all():
            if control.is_visible():
                assert control.evaluate("e => e.textContent || e.labels[0].textContent")
        page.close()


def contrast(page, selector):
    """The ratio of WCAG 2 between a text and what lies behind it."""
    front, back = page.eval_on_selector(
        selector,
        """element => {
            const color = getComputedStyle(element).color;
            let behind = element, found;
            do {
              found = getComputedStyle(behind).backgroundColor;
              behind = behind.parentElement;
            } while (/, 0\\)$/.test(found) && behind);
            return [color, found];
        }""",
    )
    high, low = sorted((luminance(front), luminance(back)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
