"""The chat page where something is wrong: each has its words, and nothing that is not ours runs."""

from __future__ import annotations

import os
import signal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from books import Books, Visit, visiting
from playwright.sync_api import Browser, Locator, expect

from hieno.endpoint import control, credentials

pytestmark = pytest.mark.browser


def trouble(turn: Locator) -> list[str]:
    """Wait for what went wrong, and return its two lines."""
    box = turn.locator(".trouble").last
    box.wait_for()
    return [box.locator("strong").inner_text(), box.locator("p").inner_text()]


# Signing in.


@pytest.mark.parametrize("kind", ["wrong", "used", "expired", "none"])
def test_a_link_that_is_not_good_says_how_to_get_one(
    kind: str, books: Books, browser: Browser
) -> None:
    expired = {"seconds": -1.0} if kind == "expired" else {}
    link = books.link(**expired)
    if kind == "used":
        with visiting(books, browser) as other:
            other.page.goto(link)
            other.page.locator("#model", has_text="books").wait_for()
    link = {"wrong": link[:-1] + "_", "none": f"{books.url}/chat/"}.get(kind, link)
    with visiting(books, browser) as visit:
        visit.page.goto(link)
        gate = visit.page.locator("#gate")
        missing = kind == "none"
        expect(gate.get_by_role("heading")).to_have_text(
            "You are signed out" if missing else "This link is no longer valid"
        )
        expect(gate.locator("code")).to_have_text("hieno chat --web")
        assert visit.page.url == f"{books.url}/chat/"  # the code is not left in the address
        visit.page.goto(books.link())  # a new link in the same tab changes only what is behind #
        expect(visit.page.locator("#model")).to_have_text("books")
        expect(gate).to_be_hidden()
        expect(visit.ask_and_wait("Hello?").locator(".text")).not_to_be_empty()


def test_a_used_link_opens_the_page_for_who_is_signed_in(books: Books, browser: Browser) -> None:
    with visiting(books, browser) as visit:
        link = books.link()
        for _ in range(2):
            visit.page.goto("about:blank")
            visit.page.goto(link)
            expect(visit.page.locator("#model")).to_have_text("books")
            expect(visit.page.locator("#gate")).to_be_hidden()


def test_no_script_can_read_the_session(visit: Visit) -> None:
    assert visit.page.evaluate("document.cookie") == ""
    [cookie] = visit.page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (
        True,
        "Strict",
        "/chat/api/",
    )
    kept = "JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert cookie["value"] not in visit.page.evaluate(kept)


def test_a_page_of_another_port_gets_nothing(books: Books, browser: Browser) -> None:
    """All ports are one site to a browser, so it sends the cookie: the origin decides."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>other</title>")

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Other)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(books.link())
        page.locator("#model", has_text="books").wait_for()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        asked = len(books.asked())
        seen = page.evaluate(
            """async (url) => {
                const body = '{"who":"tuned","max_tokens":9,"messages":' +
                    '[{"role":"user","content":"stolen"}]}';
                const options = { method: "POST", body, credentials: "include" };
                const blind = await fetch(url, { ...options, mode: "no-cors" });
                const failed = await fetch(url, options).then(() => "read", () => "failed");
                return [blind.type, failed];
            }""",
            f"{books.url}/chat/api/completions",
        )
        assert seen == ["opaque", "failed"]
        assert len(books.asked()) == asked
        frame = page.evaluate(
            """(url) => new Promise((resolve) => {
                const frame = document.createElement("iframe");
                frame.onload = () => {
                    try { resolve(frame.contentDocument?.title ?? "blocked"); }
                    catch { resolve("blocked"); }
                };
                frame.src = url;
                document.body.append(frame);
            })""",
            f"{books.url}/chat/",
        )
        assert frame == "blocked"
    finally:
        context.close()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_new_key_signs_out_and_a_new_link_brings_the_chat_back(
    fresh: Books, browser: Browser
) -> None:
    with visiting(fresh, browser) as visit:
        visit.enter()
        visit.ask_and_wait("before")
        credentials.regenerate(fresh.folder, "primary")
        refused = visit.ask_and_wait("after")
        assert trouble(refused)[0] == "You are signed out"
        visit.page.goto(fresh.link())
        expect(visit.page).to_have_url(f"{fresh.url}/chat/")
        refused.get_by_role("button", name="Try again").click()
        visit.wait()
        expect(visit.turn(1).locator(".text")).to_have_text("books: 3 messages, the last is after")


# The model and its computer.


def test_a_model_that_dies_in_the_middle_of_an_answer(fresh: Books, browser: Browser) -> None:
    with visiting(fresh, browser) as visit:
        visit.enter()
        turn = visit.ask_and_wait("die so far so")
        assert trouble(turn) == [
            "The answer was cut off",
            "The model went away. It is started again by itself: try again in a moment.",
        ]
        expect(turn.locator(".text")).to_have_text("so far so")
        # it is started again meanwhile, and the page waits for it
        visit.turn(0).hover()
        visit.turn(0).get_by_role("button", name="Edit the question").click()
        visit.turn(0).get_by_role("textbox").fill("say better")
        visit.turn(0).get_by_role("button", name="Ask", exact=True).click()
        expect(visit.turn(0).locator(".text")).to_have_text("better")


def test_a_model_that_is_loading_is_waited_for(browser: Browser, tmp_path: Path) -> None:
    books, ready = Books(tmp_path / "books"), tmp_path / "ready"
    ready.touch()
    books.deploy(books.parrot("3", "--ready", str(ready)), books.parrot("base"))
    try:
        with visiting(books, browser) as visit:
            visit.enter()
            expect(visit.page.locator("#version")).to_have_text("version 3")
            ready.unlink()
            os.kill(books.container().pid, signal.SIGKILL)
            books.wait_until_not_ready()
            turn = visit.ask("say here I am")
            expect(turn.locator(".waiting")).to_have_text("The model is loading")
            ready.touch()
            expect(turn.locator(".text")).to_have_text("here I am")
            ready.unlink()
            os.kill(books.container().pid, signal.SIGKILL)
            books.wait_until_not_ready()
            waiting = visit.ask("again")
            expect(waiting.locator(".waiting")).to_have_text("The model is loading")
            visit.button("Stop").click()
            expect(waiting.locator(".measure")).to_have_text("stopped")
            visit.page.reload()
            expect(visit.page.locator("#version")).to_have_text("loading")
            ready.touch()
            expect(visit.page.locator("#version")).to_have_text("version 3")
    finally:
        control.down(books.folder)


def test_a_computer_that_does_not_answer_and_comes_back(fresh: Books, browser: Browser) -> None:
    with visiting(fresh, browser) as visit:
        visit.enter()
        control.down(fresh.folder)
        turn = visit.ask_and_wait("say hello")
        assert trouble(turn) == [
            "The model's computer does not answer",
            "hieno up starts it again. Then try again.",
        ]
        control.ensure_running(fresh.folder, wait=60)
        turn.get_by_role("button", name="Try again").click()  # and nobody has to sign in again
        expect(turn.locator(".text")).to_have_text("hello")


# Questions of any size.


def test_an_empty_question_is_not_asked(visit: Visit) -> None:
    asked = len(visit.books.asked())
    for text in ("", "   ", "\n\t "):
        visit.field.fill(text)
        visit.field.press("Enter")
        expect(visit.button("Send")).to_be_disabled()
    expect(visit.page.locator("section.turn")).to_have_count(0)
    assert len(visit.books.asked()) == asked


def test_a_question_of_a_megabyte_is_refused_in_words(visit: Visit) -> None:
    turn = visit.ask_and_wait("word " * 200_000)
    assert trouble(turn) == [
        "That is longer than the model can read",
        "Shorten the question or the instructions, or allow a shorter answer in the settings.",
    ]
    expect(turn.get_by_role("button", name="Show all 1,000,000 characters")).to_be_visible()
    assert trouble(visit.ask_and_wait("word " * 400_000))[0] == "That is too long to be sent"
    # neither is part of the chat that goes on
    visit.ask_and_wait("short")
    assert len(visit.books.asked()[-1]["messages"]) == 1


def test_a_chat_of_two_hundred_turns_goes_on_without_its_oldest(visit: Visit) -> None:
    visit.ask_and_wait("begin")
    visit.page.evaluate(
        """async () => {
            const history = await import("/chat/history.js");
            const [chat] = await history.all();
            const [first] = chat.turns;
            chat.turns = Array.from({ length: 200 }, (_, index) => ({
                question: `question ${index} ${"q".repeat(100)}`,
                answers: [{ ...first.answers[0], id: crypto.randomUUID(), text: "a".repeat(100) }],
            }));
            await history.keep(chat);
        }"""
    )
    visit.page.reload()
    visit.page.locator("#chats .title").click()
    expect(visit.page.locator("section.turn")).to_have_count(200)
    turn = visit.ask_and_wait("say still here")
    expect(turn.locator(".text")).to_have_text("still here")
    expect(turn.locator(".measure")).to_contain_text("without the oldest 150 turns")
    sent = visit.books.asked()[-1]["messages"]
    assert len(sent) == 2 * 50 + 1
    assert sent[0]["content"].startswith("question 150 ")
    expect(turn.locator(".text")).to_be_in_viewport()


# Hostile answers.

HOSTILE = """\
<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 1"><svg onload="window.hacked = 1"></svg>
<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>
<a href="javascript:window.hacked = 1">raw</a>

![pixel](https://evil.example/pixel.png) [run](javascript:window.hacked=1)
[data](data:text/html,<script>window.hacked=1</script>) [vb](vbscript:x) [up](//evil.example/x)
[quote](https://evil.example/"onmouseover="window.hacked=1) <https://evil.example/auto>
[ok](https://example.org/a?b=c) JAVASCRIPT:alert(1) <style>* { display: none }</style>

| <img src=x onerror=window.hacked=1> | b |
|---|---|
| [x](javascript:window.hacked=1) | `</code><script>window.hacked=1</script>` |

```"><img src=x onerror=window.hacked=1>
</code></pre><script>window.hacked = 1</script>
```
"""

HARMLESS = {"p", "a", "br", "code", "pre", "span", "div", "figure", "figcaption"}
HARMLESS |= {"button", "svg", "use", "table", "thead", "tbody", "tr", "th", "td"}


def test_nothing_in_an_answer_runs_or_is_loaded(visit: Visit) -> None:
    turn = visit.ask_and_wait(f"say {HOSTILE}")
    text = turn.locator(".text")
    expect(text).to_contain_text("<script>window.hacked = 1</script>")
    assert visit.page.evaluate("window.hacked") is None
    inside = text.evaluate(
        """(place) => [...place.querySelectorAll("*")].map((one) => one.localName)"""
    )
    assert set(inside) <= HARMLESS
    links = text.evaluate("""(place) => [...place.querySelectorAll("a")].map((one) => one.href)""")
    assert all(link.startswith(("https://evil.example/", "https://example.org/")) for link in links)
    assert "https://example.org/a?b=c" in links
    attributes = text.evaluate(
        """(place) => [...place.querySelectorAll("*")].flatMap((one) => one.getAttributeNames())"""
    )
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "style")]
    expect(text).to_contain_text("image: pixel")
    for link in text.locator("a").all():
        expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_markup_that_is_made_by_a_script_does_not_run(books: Books, browser: Browser) -> None:
    """The policy would hold even where the page had a hole."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(books.link())
    page.locator("#model", has_text="books").wait_for()
    outcome = page.evaluate(
        """() => {
            const script = document.createElement("script");
            const tried = [];
            const attempt = (act) => {
                try { act(); } catch (error) { tried.push(error.name); }
            };
            attempt(() => { document.body.innerHTML += "<b>x</b>"; });
            attempt(() => { script.textContent = "window.hacked = 1"; });
            const image = document.createElement("img");
            image.src = "https://evil.example/x.png";
            document.body.append(image);
            return tried;
        }"""
    )
    assert outcome == ["TypeError", "TypeError"]
    assert page.evaluate("window.hacked") is None
    context.close()
