"""Who may come in to the chat page: links, sessions, pages of other addresses."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
from visiting import Books, problem, question

from hieno.endpoint import control
from hieno.endpoint.page.invitations import Allowance

CODE = re.compile(r"[A-Za-z0-9_-]{22}")


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
