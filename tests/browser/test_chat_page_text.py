"""Markdown as the chat page shows it: what models write, and what somebody may make them write."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from books import Books, Visit, visiting
from playwright.sync_api import Browser

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(books: Books, browser: Browser) -> Iterator[Visit]:
    with visiting(books, browser) as visit:
        yield visit.enter()


def shown(page: Visit, text: str) -> str:
    """Return the elements that a text becomes, without what serves the page's own buttons."""
    markup: str = page.page.evaluate(
        """async (text) => {
            const { show } = await import("/chat/markdown.js");
            const place = document.createElement("div");
            show(place, text);
            for (const one of place.querySelectorAll("figcaption, [dir], [role]")) {
                if (one.localName === "figcaption") one.remove();
                const ours = ["dir", "role", "tabindex", "aria-label"];
                for (const name of ours) one.removeAttribute(name);
            }
            return place.innerHTML;
        }""",
        text,
    )
    return markup


LINK = 'target="_blank" rel="noopener noreferrer"'


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
        ("a **b *c* d** e", "<p>a <strong>b <em>c</em> d</strong> e</p>"),
        ("***both*** __b__ _i_ ~~s~~", None),
        ("snake_case_name and 2 * 3 * 4", "<p>snake_case_name and 2 * 3 * 4</p>"),
        ("**open and `code **` done", "<p>**open and <code>code **</code> done</p>"),
        ("`` a ` b `` and ```", "<p><code>a ` b</code> and ```</p>"),
        (r"\*not\* \[a\](b)", "<p>*not* [a](b)</p>"),
        ("# One\n### Three #", "<h3>One</h3><h5>Three</h5>"),
        ("#no heading", "<p>#no heading</p>"),
        ("- a\n- b\n  - c\n- d", "<ul><li>a</li><li>b<ul><li>c</li></ul></li><li>d</li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("1. a\n   more\n2. b", "<ol><li>a<br>more</li><li>b</li></ol>"),
        ("text\n- item", "<p>text</p><ul><li>item</li></ul>"),
        ("> a\n> - b\n\nc", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote><p>c</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        (
            "```py\n<b>\n\n**x**\n```\nafter",
            '<figure class="code"><pre><code>&lt;b&gt;\n\n**x**</code></pre></figure><p>after</p>',
        ),
        (
            "```\nnever closed",
            '<figure class="code"><pre><code>never closed</code></pre></figure>',
        ),
        (
            "| a | b |\n|---|:-:|\n| 1 | 2 | 3 |",
            '<div class="table"><table><thead><tr><th>a</th><th>b</th></tr></thead>'
            "<tbody><tr><td>1</td><td>2</td></tr></tbody></table></div>",
        ),
        ("a | b is no table", "<p>a | b is no table</p>"),
        (
            "[site](https://example.org/x)",
            f'<p><a href="https://example.org/x" title="https://example.org/x" {LINK}>site</a></p>',
        ),
        (
            "see https://example.org/a.",
            '<p>see <a href="https://example.org/a" title="https://example.org/a" '
            f"{LINK}>https://example.org/a</a>.</p>",
        ),
        ("[no](javascript:x) [rel](/chat/)", "<p><span>no</span> <span>rel</span></p>"),
        ("<b>&amp;</b>", "<p>&lt;b&gt;&amp;amp;&lt;/b&gt;</p>"),
        ("", ""),
        (" \n\n ", ""),
    ],
)
def test_what_models_write_becomes_elements(page: Visit, text: str, markup: str | None) -> None:
    if markup is None:
        markup = "<p><strong><em>both</em></strong> <strong>b</strong> <em>i</em> <s>s</s></p>"
    assert shown(page, text) == markup


@pytest.mark.parametrize(
    "unit",
    ["*", "**a", "_", "`", "``a", "[", "[a](", "![", "<", ">", "> ", "- ", "  - a\n", "1. ", "|",
     "|-", "| a |\n|---|\n", "#", "\\", "~~", "https://", "h", "```\n", "\n", "\u202e",
     "\U0001f469\u200d", "***a**", "[[a](b", "*a_b"],
)  # fmt: skip
def test_a_hostile_text_is_shown_and_stops_nothing(page: Visit, unit: str) -> None:
    """Each is a hundred thousand characters of what a careless parser would choke on."""
    length = page.page.evaluate(
        """async (text) => {
            const { show } = await import("/chat/markdown.js");
            const place = document.createElement("div");
            show(place, text);
            let deepest = 0;
            const walk = document.createTreeWalker(place);
            for (let node = walk.currentNode; node; node = walk.nextNode()) {
                let depth = 0;
                for (let one = node; one !== place; one = one.parentNode) depth += 1;
                deepest = Math.max(deepest, depth);
            }
            return deepest;
        }""",
        unit * (100_000 // len(unit)),
    )
    assert length < 60


def test_a_growing_text_keeps_what_has_not_changed(page: Visit) -> None:
    """Elements that stay the same are the same, so that a selection survives the streaming."""
    same = page.page.evaluate(
        """async () => {
            const { show } = await import("/chat/markdown.js");
            const whole = "first *one*\\n\\n- a\\n- b\\n\\n```\\ncode\\n```\\n\\nlast words";
            const [place, fresh] = [document.createElement("div"), document.createElement("div")];
            let first = null;
            for (let end = 1; end <= whole.length; end += 1) {
                show(place, whole.slice(0, end));
                if (end === 14) first = place.firstChild;
            }
            show(fresh, whole);
            return [place.firstChild === first, place.innerHTML === fresh.innerHTML];
        }"""
    )
    assert same == [True, True]
