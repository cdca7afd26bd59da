"""The chat page over HTTP: its files, what may be asked, what is kept."""

from __future__ import annotations

import json
import re

import httpx
from visiting import Books, problem, question, said

from hieno.endpoint import control
from hieno.endpoint.page.invitations import Allowance
from hieno.endpoint.state import Page
from waiting import wait_until


def test_the_page_and_all_that_it_names_are_there_with_their_types(books: Books) -> None:
    with books.browser() as client:
        page = client.get("/chat/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        named = re.findall(r'(?:src|href)="([a-z.-]+\.[a-z]+)"', page.text)
        scripts = [name for name in named if name.endswith(".js")]
        types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
        while scripts:
            answer = client.get(f"/chat/{scripts.pop()}")
            assert answer.headers["content-type"] == types["js"], answer.url
            found = re.findall(r'from "\./([a-z-]+\.js)"', answer.text)
            scripts += [name for name in found if name not in named]
            named += found
        assert len(set(named)) > 15
        for name in named:
            answer = client.get(f"/chat/{name}")
            assert answer.status_code == 200, name
            assert answer.headers["content-type"] == types.get(
                name.rpartition(".")[2], "image/svg+xml"
            )
        assert client.get("/chat", follow_redirects=True).text == page.text


def test_a_file_that_has_not_changed_is_not_sent_again(books: Books) -> None:
    with books.browser() as client:
        first = client.get("/chat/main.js")
        assert first.headers["cache-control"] == "no-cache"
        again = client.get("/chat/main.js", headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = client.get("/chat/main.js", headers={"if-none-match": '"other"'})
        assert other.content == first.content


def test_the_page_may_load_and_run_nothing_but_its_own(books: Books) -> None:
    with books.browser() as client:
        headers = client.get("/chat/").headers
    policy = dict(
        rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {
        "'none'",
        "'self'",
    }
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_no_address_leads_out_of_the_page_s_folder(books: Books) -> None:
    with books.browser() as client:
        for path in (
            "/chat/__init__.py",
            "/chat/session.py",
            "/chat/x.js",
            "/chat/main.js/",
            "/chat/api",
            "/chat/index.html%00.js",
            "/chat/..%2fsession.py",
            "/chat/%2e%2e/score",
            "/chat//main.js",
            "/chat/page/main.js",
        ):
            answer = client.get(path)
            assert answer.status_code in (401, 404), path  # 401: no address of the page at all
            assert "import" not in answer.text
        for method in ("POST", "PUT", "DELETE"):
            answer = client.request(method, "/chat/main.js")
            assert answer.status_code == 405, method


def test_a_question_reaches_the_model_that_was_chosen(books: Books) -> None:
    with books.browser(code=books.invite()) as client:
        for who, name in (("tuned", "books"), ("base", "base")):
            answer = client.post("/chat/api/completions", json=question("Hello?", who=who))
            assert answer.headers["hieno-model-version"] == f"{name}:1"
            assert answer.headers["content-type"] == "text/event-stream"
            assert said(answer) == f"{name}: 1 messages, the last is Hello?"
        asked = books.asked()[-1]
        assert asked == {
            "messages": [{"role": "user", "content": "Hello?"}],
            "max_tokens": 50,
            "temperature": 0.0,
            "model": "base",
            "stream": True,
            "stream_options": {"include_usage": True},
        }


def test_only_what_the_page_sends_is_passed_on(books: Books) -> None:
    before = len(books.asked())
    with books.browser(code=books.invite()) as client:
        for changes, code in (
            ({"who": "green"}, "invalid_request"),
            ({"chat_template": "x"}, "invalid_request"),
            ({"n": 100}, "invalid_request"),
            ({"stream": False}, "invalid_request"),
            ({"messages": []}, "invalid_request"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "invalid_request"),
            ({"messages": [{"role": "user", "content": ["x"]}]}, "invalid_request"),
            ({"max_tokens": 0}, "invalid_request"),
            ({"max_tokens": True}, "invalid_request"),
            ({"temperature": 2.1}, "invalid_request"),
            ({"top_p": -0.1}, "invalid_request"),
        ):
            answer = client.post("/chat/api/completions", json=question("x", **changes))
            assert problem(answer) == (400, code), changes
            assert "x" not in answer.json()["error"]["message"].replace("extra", "").split()
        large = client.post("/chat/api/completions", json=question("x" * 1_600_000))
        assert problem(large) == (413, "request_too_large")
        long = client.post("/chat/api/completions", json=question("x" * 1_000_000))
        assert problem(long) == (400, "context_length_exceeded")
        cut = client.post("/chat/api/completions", json=question("Hello?", max_tokens=999_999))
        assert cut.status_code == 200
    assert [one["max_tokens"] for one in books.asked()[before:]][-1] == 200


def test_a_guest_has_as_many_questions_and_tokens_as_were_allowed(books: Books) -> None:
    with books.browser(code=books.invite(allowance=Allowance(3, 30))) as client:

        def left() -> dict[str, int]:
            return dict(client.get("/chat/api/session").json()["guest"])

        def ask(text: str) -> httpx.Response:
            return client.post("/chat/api/completions", json=question(text))

        assert left() == {"requests": 3, "tokens": 30}
        assert said(ask("say one two three")) == "one two three"
        wait_until(lambda: left() == {"requests": 2, "tokens": 27}, "the rest is given back")
        assert books.asked()[-1]["max_tokens"] == 30  # never more than is left
        assert ask("x" * 30_000).status_code == 400
        assert left() == {"requests": 2, "tokens": 27}  # a refusal costs nothing
        ask("say " + "word " * 27)
        assert left() == {"requests": 1, "tokens": 0}
        assert problem(ask("more")) == (403, "tokens_used_up")
    with books.browser(code=books.invite(allowance=Allowance(1, 100))) as client:
        client.post("/chat/api/completions", json=question("say a"))
        answer = client.post("/chat/api/completions", json=question("say b"))
        assert problem(answer) == (403, "requests_used_up")


def test_a_guest_who_leaves_early_pays_for_what_was_written(fresh: Books) -> None:
    code = fresh.invite(allowance=Allowance(5, 100))
    with fresh.browser(code=code) as client:
        body = question(f"hold {fresh.folder / 'never'} one two three")
        with client.stream("POST", "/chat/api/completions", json=body) as answer:
            lines = answer.iter_lines()
            while "three" not in next(lines):
                pass
            with fresh.browser() as other:
                other.cookies = client.cookies
                during = other.get("/chat/api/session").json()["guest"]
            assert during == {"requests": 4, "tokens": 50}  # put by until it is known

        def settled() -> bool:
            guest = client.get("/chat/api/session").json()["guest"]
            return bool(guest == {"requests": 4, "tokens": 97})

        wait_until(settled, "the rest is given back")
        control.down(fresh.folder)
        control.ensure_running(fresh.folder, wait=60)
        assert settled()


def test_ratings_are_kept_where_the_owner_wants_them(fresh: Books) -> None:
    row = {
        "id": "0123-4567-89",
        "messages": [
            {"role": "user", "content": "When?"},
            {"role": "assistant", "content": "At ten."},
        ],
        "rating": "down",
        "correction": "At nine.",
        "model_version": "books:3",
    }
    with fresh.browser(code=fresh.invite()) as client:
        assert client.post("/chat/api/feedback", json=row).status_code == 200
        kept = json.loads(fresh.feedback.read_text(encoding="utf-8"))
        assert kept.pop("time").endswith("Z")
        assert kept == row
        wrong = client.post("/chat/api/feedback", json=row | {"rating": "so-so"})
        assert problem(wrong) == (400, "invalid_request")
        control.ensure_running(fresh.folder, wait=60, page=Page("books"))
        answer = client.post("/chat/api/feedback", json=row)
        assert problem(answer) == (403, "feedback_off")
        assert client.get("/chat/api/session").json()["feedback"] is False
    assert len(fresh.feedback.read_text(encoding="utf-8").splitlines()) == 1
