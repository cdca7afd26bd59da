"""The chat page for everybody: axe-core, which knows the rules, finds nothing serious."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from books import Books, Visit, visiting
from playwright.sync_api import Browser

from hieno.project import home

AXE = "axe-core@4.14.1"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def axe() -> str:
    """Return axe-core's script, which npm fetches once for each user."""
    folder = home() / "tests" / AXE
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm, which fetches axe-core")
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
        done = subprocess.run(
            [*command, "--prefix", str(folder), AXE], capture_output=True, check=False, timeout=120
        )
        if done.returncode or not script.exists():
            pytest.skip("npm cannot fetch axe-core here")
    return Path(script).read_text(encoding="utf-8")


def serious(visit: Visit, axe: str) -> list[str]:
    visit.page.evaluate(f"{axe}; undefined")
    found: list[str] = visit.page.evaluate(
        """async () => {
            const { violations } = await axe.run(document, { resultTypes: ["violations"] });
            return violations
                .filter((one) => one.impact === "serious" || one.impact === "critical")
                .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html}`));
        }"""
    )
    return found


MARKDOWN = """say ### Hours

| Day | Opens |
|---|---|
| Monday | ten |

```python
open(10)
```

> Bring a [card](https://example.org/). `code`"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1180, 390])
def test_nothing_serious_is_found(
    scheme: str, width: int, books: Books, browser: Browser, axe: str
) -> None:
    size = {"width": width, "height": 800}
    with visiting(books, browser, viewport=size, color_scheme=scheme) as visit:
        visit.page.goto(f"{books.url}/chat/")
        visit.page.locator("#gate").get_by_role("heading").wait_for()
        assert serious(visit, axe) == [], "signed out"
        visit.page.goto(books.link())
        visit.page.locator("#model", has_text="books").wait_for()
        assert serious(visit, axe) == [], "empty"
        visit.ask_and_wait(MARKDOWN)
        visit.page.get_by_role("radio", name="Side by side").check()
        visit.ask_and_wait(MARKDOWN)
        visit.button("Good answer").last.click()
        visit.button("Correct this answer").last.click()
        visit.ask_and_wait("x" * 30_000)
        assert serious(visit, axe) == [], "a chat with an error"
        visit.turn(0).hover()
        visit.turn(0).get_by_role("button", name="Edit the question").click()
        assert serious(visit, axe) == [], "editing"
        visit.button("Settings").click()
        for summary in visit.page.locator("summary").all():
            summary.click()
        assert serious(visit, axe) == [], "settings"
        visit.page.keyboard.press("Escape")
        if width < 800:
            visit.button("Chats").click()
            visit.page.locator("#shade").wait_for()
            assert serious(visit, axe) == [], "the list"
