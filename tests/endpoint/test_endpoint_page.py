"""The chat page over HTTP: its files, who may come in, what a guest may ask, what is kept."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from rehearsal import LIMITS, Endpoint, wait_until

from hieno import ports
from hieno.endpoint import control
from hieno.endpoint.page import invitations
from hieno.endpoint.page.invitations import Allowance
from hieno.endpoint.state import DeploymentSpec, Page

PARROT = Path(__file__).parents[1] / "browser" / "parrot.py"
CODE = re.compile(r"[A-Za-z0-9_-]{22}")


class Books(Endpoint):
    """An endpoint whose containers say what they are told, and its chat page."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.record = folder.parent / "record.jsonl"
        self.feedback = folder.parent / "feedback.jsonl"

    def start(self, page: Page | None = None) -> None:
        """Deploy version 3, with the untuned model beside it."""
        control.deploy(
            self.folder,
            self.spec("3", "books"),
            port=ports.free_port(),
            wait=60,
            say=self.said.append,
            base=self.spec("base", "base"),
            limits=replace(LIMITS, max_body=1_500_000),
            page=page or Page("books", 200, str(self.feedback)),
        )

    def spec(self, version: str, name: str) -> DeploymentSpec:
        options = ("--record", str(self.record), "--name", name)
        return DeploymentSpec(version, (sys.executable, str(PARROT), "--port", "{port}", *options))

    @contextmanager
    def browser(self, *, code: str | None = None) -> Iterator[httpx.Client]:
        """Return a client as a page of this endpoint is one; with a code it is signed in."""
        url = self.status().url
        headers = {"origin": url}
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
            if code is not None:
                client.post("/chat/api/session", json={"code": code}).raise_for_status()
            yield client

    def invite(self, **options: Any) -> str:
        return invitations.invite(self.folder, **options)[0].get_secret_value()

    def asked(self) -> list[dict[str, Any]]:
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else ()
        return [json.loads(line) for line in lines]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Books]:
    """An endpoint that the test may break."""
    made = Books(tmp_path / "books")
    made.start()
    yield made
    control.down(made.folder)


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    made = Books(tmp_path_factory.mktemp("page") / "books")
    made.start()
    yield made
    control.down(made.folder)


def question(text: str, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"who": "tuned", "messages": messages, "max_tokens": 50} | changes


def said(answer: httpx.Response) -> str:
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event).get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def problem(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "param", "type"]
    return answer.status_code, error["code"]


# The files.


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


# Who may come in.


def test_a_code_lets_in_once_and_the_cookie_goes_to_the_api_alone(books: Books) -> None:
    code = books.invite()
    assert CODE.fullmatch(code)
    with books.browser() as client:
        answer = client.post("/chat/api/session", json={"code": code})
        port = books.status().url.rpartition(":")[2]
        cookie = answer.headers["set-cookie"]
        assert re.fullmatch(
            rf"hieno-chat-{port}=[\w-]{{43}}; Path=/chat/api/; Max-Age=604800; HttpOnly; "
            "SameSite=Strict",
            cookie,
        )
        assert client.get("/chat/api/session").json() == {
            "title": "books",
            "version": "3",
            "state": "ready",
            "base": True,
            "max_tokens": 200,
            "feedback": True,
            "guest": None,
        }
        pair = {"cookie": cookie.partition(";")[0]}
        for path in ("/v1/models", "/score", "/metrics", "/swagger.json"):
            assert client.get(path, headers=pair).status_code == 401, path
        again = client.post("/chat/api/session", json={"code": code})
        assert problem(again) == (401, "code_refused")


def test_of_many_who_use_one_code_at_once_one_comes_in(books: Books) -> None:
    code = books.invite()
    url = books.status().url

    def enter(_: int) -> int:
        body = {"code": code}
        with httpx.Client(trust_env=False, timeout=30) as client:
            headers = {"origin": url}
            return client.post(f"{url}/chat/api/session", json=body, headers=headers).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = sorted(pool.map(enter, range(12)))
    assert statuses == [200] + [401] * 11


def test_wrong_and_old_codes_are_refused_alike(books: Books) -> None:
    good = books.invite()
    old = books.invite(seconds=-1)  # the last: to make a link clears away those that are too old
    with books.browser() as client:
        for code in (old, good[:-1], good + "x", "", None, 7, ["x"], "\u0430" * 22, "x" * 100_000):
            answer = client.post("/chat/api/session", json={"code": code})
            assert problem(answer) == (401, "code_refused")
            assert "set-cookie" not in answer.headers
        for body in (b"", b"[]", b"{", b"\xff", b"[" * 100_000):
            answer = client.post("/chat/api/session", content=body)
            assert problem(answer) == (400, "invalid_request"), body[:5]


def test_without_a_session_the_api_says_how_to_get_one(books: Books) -> None:
    with books.browser() as client:
        for method, name in (("GET", "session"), ("POST", "completions"), ("POST", "feedback")):
            for cookie in ("", "hieno-chat-1=x", f"hieno-chat-{client.base_url.port}=x; a"):
                answer = client.request(
                    method, f"/chat/api/{name}", json={}, headers={"cookie": cookie}
                )
                assert problem(answer) == (401, "session_required")


def test_pages_of_other_addresses_are_refused(books: Books) -> None:
    with books.browser(code=books.invite()) as client:
        url = str(client.base_url).rstrip("/")
        other = url.replace("127.0.0.1", "localhost")
        for origin in (
            "null",
            "https://example.org",
            other,
            f"{url}0",
            url.replace("http", "https"),
        ):
            answer = client.post(
                "/chat/api/completions", json=question("x"), headers={"origin": origin}
            )
            assert problem(answer) == (403, "forbidden_origin"), origin
        for site in ("cross-site", "same-site", "none"):
            answer = client.get("/chat/api/session", headers={"sec-fetch-site": site})
            assert problem(answer) == (403, "forbidden_origin"), site
        del client.headers["origin"]
        assert problem(client.post("/chat/api/completions", json=question("x"))) == (
            403,
            "forbidden_origin",
        )
        assert client.get("/chat/api/session").status_code == 200
        answer = client.get("/chat/", headers={"host": "evil.example"})
        assert answer.status_code == 400
    assert [one for one in books.asked() if one["messages"][0]["content"] == "x"] == []


def test_a_session_outlives_the_gateway_and_ends_with_its_key(fresh: Books) -> None:
    with fresh.browser(code=fresh.invite()) as client:
        control.down(fresh.folder)
        control.ensure_running(fresh.folder, wait=60)
        assert client.get("/chat/api/session").status_code == 200
        control.regenerate(fresh.folder, "secondary")
        assert client.get("/chat/api/session").status_code == 200
        unused = fresh.invite()
        control.regenerate(fresh.folder, "primary")
        assert problem(client.get("/chat/api/session")) == (401, "session_required")
        late = client.post("/chat/api/session", json={"code": unused})
        assert problem(late) == (401, "code_refused")
    with fresh.browser(code=fresh.invite()) as client:
        assert client.get("/chat/api/session").status_code == 200


def test_damaged_files_sign_everybody_out_and_break_nothing(fresh: Books) -> None:
    code = fresh.invite()
    (fresh.folder / "invitations.json").write_text('{"a": 1}', encoding="utf-8")
    with fresh.browser() as client:
        answer = client.post("/chat/api/session", json={"code": code})
        assert problem(answer) == (401, "code_refused")
        control.down(fresh.folder)
        (fresh.folder / "visitors.json").write_text("[{}]", encoding="utf-8")
        (fresh.folder / "invitations.json").unlink()
        control.ensure_running(fresh.folder, wait=60)
        answer = client.post("/chat/api/session", json={"code": fresh.invite()})
        assert answer.status_code == 200


def test_neither_codes_nor_tokens_nor_words_are_written_down(fresh: Books) -> None:
    code = fresh.invite(allowance=Allowance(5, 500))
    with fresh.browser(code=code) as client:
        [token] = client.cookies.values()
        client.post("/chat/api/completions", json=question("say pancakes"))
    for path in fresh.folder.iterdir():
        content = path.read_bytes()
        assert code.encode() not in content, path
        assert token.encode() not in content, path
        assert b"pancakes" not in content, path
        if os.name != "nt" and path.name in ("invitations.json", "visitors.json"):
            assert path.stat().st_mode & 0o777 == 0o600


# What may be asked.


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


# What is kept.


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
