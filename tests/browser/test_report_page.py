"""The evaluation's report in a real browser: nothing runs, nothing is fetched, everything fits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluate"))

from test_page import METRICS, PACKAGE, asked, heard, hostile_page, report_of

from hieno.evaluate.report import page

pytestmark = pytest.mark.browser


def test_hostile_texts_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile_page(), encoding="utf-8")
    shown = browser.new_page()
    asked_for: list[str] = []
    shown.on("request", lambda request: asked_for.append(request.url))
    shown.goto(path.as_uri())
    assert shown.title().startswith("</title></style>")
    assert asked_for == [path.as_uri()]
    assert shown.locator("h1").inner_text().startswith("</title></style></div><script>")
    assert shown.evaluate("document.querySelectorAll('script, img').length") == 0
    shown.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 1000), ("light", 390)])
def test_the_page_fits_and_follows_the_colour_scheme(
    browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    report, rows = report_of(
        asked("w" * 400), base=heard("no", "no", "no"), tuned=heard("w" * 900, "fine", "Paris")
    )
    path = tmp_path / "report.html"
    path.write_text(page(report, rows, PACKAGE, METRICS), encoding="utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    shown = context.new_page()
    shown.goto(path.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    ink = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ink == ("rgb(13, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)")
    context.close()
