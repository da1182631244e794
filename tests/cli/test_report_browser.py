"""The report in a real browser: what is seen, printed, and reached by keyboard."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, get_args

import pytest
from selenium.webdriver.common.keys import Keys

from offsite_cli.report.evidence import View
from offsite_cli.report.page import render
from offsite_testing import reported
from offsite_testing.browser import Browser, Scheme, running_browser
from offsite_testing.hostile_text import MARKUP, hostile_runs

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

_CONTRAST = """
const colour = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = text => {
  const [r, g, b] = colour(text).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = light(getComputedStyle(document.body).backgroundColor);
const ratio = text => {
  const [low, high] = [light(text), paper].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const found = [];
for (const text of document.querySelectorAll(".plot text"))
  found.push([text.textContent, ratio(getComputedStyle(text).fill)]);
return found;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The joint report of an exchange, with all that a report can have."""
    runs = [reported.distill_run(), reported.tune_run(), reported.plug_in_run()]
    return written(tmp_path_factory.mktemp("joint"), render(runs, View.JOINT, reported.extras()))


def written(folder: Path, content: str) -> str:
    path = folder / "report.html"
    path.write_text(content, encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_report_is_accessible_and_silent(browser: Browser, joint: str, scheme: Scheme) -> None:
    browser.open(joint, scheme)
    assert browser.console() == []
    assert browser.requested() == []
    assert browser.faults() == []
    faint = [each for each in browser.run(_CONTRAST) if each[1] < 4.5]
    assert faint == []
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") is (scheme == "light")


def test_reader_sees_what_each_party_gained_and_gave_away(browser: Browser, joint: str) -> None:
    browser.open(joint)
    sides = {
        name: browser.run("return document.querySelector(arguments[0]).innerText", f".side.{name}")
        for name in ("of-model-owner", "of-data-owner")
    }
    for said in ("lab", "8.94 → 5.55", "216 MB", "8 of 30 blocks", "72 %", "8 blocks", "82 s"):
        assert said in sides["of-model-owner"], said
    for said in ("hospital", "103 → 6.9", "14 MB", "no proven bound", "0.537", "none", "4 min"):
        assert said in sides["of-data-owner"] or said == "none", said
    text = browser.run("return document.body.innerText")
    for said in ("5.26 to 5.87", "59 to 64 %", "chosen", "Its digest is that of the emulator"):
        assert said in text, said
    titles = browser.run("return [...document.querySelectorAll('.plot')].map(e => e.ariaLabel)")
    assert len(titles) == 5
    assert all(len(title) > 20 for title in titles)


def test_report_is_used_by_keyboard(browser: Browser, joint: str) -> None:
    browser.open(joint)
    press(browser, Keys.TAB)
    assert active(browser, "textContent") == "Skip to the report"
    assert browser.run("return document.activeElement.getBoundingClientRect().top") >= 0
    press(browser, Keys.ENTER)
    assert active(browser, "id") == "content"
    reached, widths = set[str](), set[str]()
    for _ in range(120):
        press(browser, Keys.TAB)
        tag = active(browser, "tagName")
        if tag == "BODY":
            break
        reached.add(tag)
        widths.add(browser.run("return getComputedStyle(document.activeElement).outlineStyle"))
    assert {"SUMMARY", "DIV"} <= reached
    assert "none" not in widths
    browser.run("document.querySelector('summary').focus()")
    press(browser, Keys.ENTER)
    assert browser.run("return document.querySelector('details').open")


def press(browser: Browser, key: str) -> None:
    browser.driver.switch_to.active_element.send_keys(key)


def active(browser: Browser, attribute: str) -> str:
    return str(browser.run("return document.activeElement[arguments[0]]", attribute))


def test_report_on_paper_is_light_and_whole(browser: Browser, joint: str) -> None:
    browser.open(joint, "dark", width=760, media="print")
    shown = "return getComputedStyle(document.querySelector(arguments[0])).display"
    assert browser.run(shown, "nav") == "none"
    assert browser.run("return getComputedStyle(document.body).color") == "rgb(23, 26, 31)"
    heights = "return [...document.querySelectorAll('details table')].map(e => e.offsetHeight)"
    assert min(browser.run(heights)) > 0
    assert base64.b64decode(browser.driver.print_page()).startswith(b"%PDF")


@pytest.mark.parametrize("width", [320, 768, 1920])
def test_page_never_scrolls_sideways(browser: Browser, joint: str, width: int) -> None:
    browser.open(joint, width=width)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_text_of_others_is_never_markup(browser: Browser, tmp_path: Path) -> None:
    report = written(tmp_path, render(hostile_runs(), View.JOINT, reported.extras()))
    browser.open(report)
    assert browser.driver.title == "What lab and hospital gained, and what they gave away"
    assert browser.console() == []
    assert browser.requested() == []
    text = browser.run("return document.body.textContent")
    assert all(text.count(each) >= 3 for each in MARKUP)
    width = browser.run("return document.documentElement.scrollWidth")
    assert width <= 1280


def test_policy_keeps_markup_from_running_and_loading(browser: Browser, joint: str) -> None:
    """Were an escape forgotten, nothing would run and nothing would leave."""
    browser.open(joint)
    content = browser.driver.page_source
    asked: list[str] = []
    with_markup = """<script>document.title = "owned"</script>
        <img src="/image" onerror="document.title = 'owned'"><iframe src="/frame"></iframe>
        <style>body { background: url(/style) }</style><link rel="stylesheet" href="/link">
        <p style="background: url(/attribute)">here</p><form action="/form"></form>
        <object data="/object"></object><a href="javascript:document.title='owned'" id="go">go</a>
        </main>"""
    broken = content.replace("</main>", with_markup)
    with serving(broken, asked) as address:
        browser.open(address)
        browser.run("document.getElementById('go').click()")
        assert browser.driver.title != "owned"
    assert asked == ["/"]
    assert any("Content Security Policy" in each for each in browser.console())


@contextmanager
def serving(content: str, asked: list[str]) -> Iterator[str]:
    """Serve one page on loopback, and note what is asked for."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *arguments: Any) -> None: ...  # noqa: V105 - it is called

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()
