"""The page in headless Chromium: what a person types comes out with its delay, and survives the server."""

import json
import os
import re
import shutil
import signal
import time
import wave

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra `dev` is not installed")

from serving import convert_steps, convert_tagger, process  # noqa: E402
from task_models import (  # noqa: E402
    COLUMNS,
    FEATURES,
    LABELS,
    RATE,
    SCALER,
    forecaster_model,
    labels_file,
    save,
    tagger_of_rows,
)

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


def spotter(folder):
    task = {"kind": "keyword_spotter", "sample_rate": RATE, "features": FEATURES, "threshold": 0.4, "refractory": 0.1}
    return save(tagger_of_rows(6, 3), folder, task, {"labels.txt": labels_file(LABELS)}, verify=False)


def played(page):
    """Wait until a file has been streamed."""
    page.wait_for_selector("#open[aria-pressed=true]")
    page.wait_for_selector("#open[aria-pressed=false]")
    until(lambda: page.inner_text("#position") == "0")


def test_a_sound_is_dropped_and_its_scores_and_keywords_are_shown(page, tmp_path):
    path = spotter(tmp_path)
    rng = np.random.default_rng(5)
    samples = np.concatenate([rng.standard_normal(n) * (i % 2) for i, n in enumerate((700, 2400, 900, 3000, 500))])
    data = np.clip(samples * 8000, -32768, 32767).astype("<i2")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, 2, RATE, len(data), "NONE", ""))
        file.writeframes(data.tobytes())
    expected = [
        (event.label, pytest.approx(event.time, abs=0.01)) for event in streaming.pipeline(path).spot(data / 32768)
    ]
    assert len(expected) > 2

    def events():
        rows = page.locator(".event").all()
        return [(row.locator(".word").inner_text(), float(row.locator("time").inner_text()[:-2])) for row in rows]

    with process(path, "--port", "0") as (_, url):
        page.set_viewport_size({"width": 360, "height": 740})
        page.goto(url)
        page.wait_for_selector("#status[data-state=open]")
        assert page.is_visible("#threshold")
        assert page.inner_text("#chosen") == "0.4"
        dropped = page.evaluate_handle(
            """bytes => {
                const found = new DataTransfer();
                found.items.add(new File([Uint8Array.from(bytes)], "sound.wav"));
                return found;
            }""",
            list((tmp_path / "sound.wav").read_bytes()),
        )
        page.dispatch_event("main", "drop", {"dataTransfer": dropped})
        played(page)
        until(lambda: len(events()) == len(expected))
        # The newest stands on top, below the scores.
        assert events()[::-1] == expected
        assert page.locator(".lanes svg").count() == len(LABELS)
        assert all("M" in bar.get_attribute("d") for bar in page.locator(".lanes .low").all())
        # On a phone nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        # By keyboard alone: all is quiet at the highest threshold.
        page.press("#reset", "Enter")
        page.press("#threshold", "End")
        assert page.get_attribute("#threshold", "aria-valuetext").startswith("0.9999")
        with page.expect_file_chooser() as chooser:
            page.press("#open", "Enter")
        chooser.value.set_files(tmp_path / "sound.wav")
        played(page)
        until(lambda: page.locator(".lanes svg").count() == len(LABELS))
        assert events() == []


def test_a_table_is_streamed_by_the_names_of_its_columns(page, tmp_path):
    task = {"kind": "anomaly_detector", "columns": list(COLUMNS), "scaler": SCALER, "horizon": 3, "warm_up": 4}
    path = save(forecaster_model(6), tmp_path, task, {}, verify=False)
    rows = np.random.default_rng(1).normal(size=(50, 2)).round(3)
    lines = ["load;place;heat", *(f"{b};here;{a}".replace(".", ",") for a, b in rows.tolist())]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "bad.csv").write_text("heat;loud\n1;2\n")
    (tmp_path / "hole.csv").write_text("heat,load\n1,2\n1,\n")
    expected = streaming.pipeline(path).detect(rows)[-1]
    with process(path, "--port", "0") as (_, url):
        page.goto(url)
        page.wait_for_selector("#status[data-state=open]")
        for name, said in (("bad.csv", "no column load; it has heat, loud"), ("hole.csv", "Line 3 lacks a value")):
            page.set_input_files("#file", tmp_path / name)
            until(lambda said=said: said in page.inner_text("#message"))
        page.set_input_files("#file", tmp_path / "rows.csv")
        played(page)
        until(lambda: page.locator(".last").count() and '"row":49' in page.inner_text(".last"))
        last = json.loads(page.inner_text(".last"))
        assert (last["error"], last["score"]) == pytest.approx((expected.error, expected.score), rel=2e-3)
        assert page.inner_text(".legend") == "score"
        assert page.locator(".plot .threshold").count() == 1
        assert page.inner_text("#chosen") == "0.9999"


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
