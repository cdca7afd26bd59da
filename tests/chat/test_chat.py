"""The terminal chat against a stand-in endpoint: through pipes, and in a real terminal."""

from __future__ import annotations

import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from pydantic import SecretStr

from endpoint import KEY, Endpoint, Reply, running
from hieno import chat
from hieno.chat.text import printable
from hieno.errors import AccessDenied, HienoError, TryLater, Unreachable, UsageError
from hieno.ports import free_port

KEY_SECRET = SecretStr(KEY)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running() as stand_in:
        yield stand_in


def piped(endpoint: Endpoint, text: str, **options: str) -> tuple[str, list[str]]:
    """Chat through pipes; return what was written and what was said beside it."""
    out, said = io.StringIO(), []
    code = chat.chat(
        endpoint.url,
        KEY_SECRET,
        stream_in=io.StringIO(text),
        stream_out=out,
        say=said.append,
        **options,
    )
    assert code == 0
    return out.getvalue(), said


def asked(endpoint: Endpoint, **options: object) -> HienoError:
    """Ask one question that must fail; return the error."""
    with pytest.raises(HienoError) as caught:
        chat.ask(
            str(options.pop("url", endpoint.url)),
            options.pop("key", KEY_SECRET),  # type: ignore[arg-type]
            "hello",
            stream_out=io.StringIO(),
            say=lambda text: None,
        )
    return caught.value


def test_a_pipe_gets_one_answer_for_each_line_and_nothing_else(endpoint: Endpoint) -> None:
    out, said = piped(endpoint, "first\n\nsecond\n")
    assert out == "1 messages, the last is first\n3 messages, the last is second\n"
    assert said == []
    assert endpoint.requests[1]["messages"] == [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "1 messages, the last is first"},
        {"role": "user", "content": "second"},
    ]
    assert endpoint.requests[1]["model"] == "stand-in"


def test_reset_forgets_and_system_instructs(endpoint: Endpoint) -> None:
    out, said = piped(endpoint, "one\n/reset\ntwo\n/system Be brief.\nthree\n/exit\nfour\n")
    assert out.splitlines() == [
        "1 messages, the last is one",
        "1 messages, the last is two",
        "2 messages, the last is three",
    ]
    assert said == [
        "a new conversation begins",
        "a new conversation begins, with these instructions",
    ]
    system = {"role": "system", "content": "Be brief."}
    assert endpoint.requests[2]["messages"][0] == system


def test_an_unknown_command_is_not_sent_to_the_model(endpoint: Endpoint) -> None:
    out, said = piped(endpoint, "/rest\n")
    assert out == ""
    assert said[0].startswith("there is no command /rest\n/reset ")
    assert endpoint.requests == []


def test_the_base_model_is_asked_by_its_deployment(endpoint: Endpoint) -> None:
    piped(endpoint, "hello\n", deployment="base")
    assert [sent["azureml-model-deployment"] for sent in endpoint.headers] == ["base", "base"]


def test_the_score_address_works_as_well(endpoint: Endpoint) -> None:
    out = io.StringIO()
    assert chat.ask(f"{endpoint.url}/score", KEY_SECRET, "hello", stream_out=out) == 0
    assert out.getvalue() == "1 messages, the last is hello\n"


def test_an_answer_cannot_steer_the_terminal(endpoint: Endpoint) -> None:
    hostile = ["\x1b]0;owned\x07", "\x1b", "[2J", "\x9b31m", "a\rb", "\u202eevil", "\tü\n🙂"]
    endpoint.replies.append(Reply(pieces=hostile))
    out, _ = piped(endpoint, "hello\n")
    assert out == "]0;owned[2J31mabevil\tü\n🙂\n"


def test_an_error_cannot_steer_the_terminal_either(endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(status=418, body="\x1b[2Jtea"))
    assert asked(endpoint).message == "the endpoint answered HTTP 418: [2Jtea"


def test_the_status_inside_a_424_is_the_one_that_is_told(endpoint: Endpoint) -> None:
    headers = {"ms-azureml-model-error-statuscode": "500"}
    endpoint.replies.append(Reply(status=424, body="oops", headers=headers))
    error = asked(endpoint)
    assert isinstance(error, TryLater)
    assert error.message == "the endpoint answered HTTP 500: oops"


def test_printable_keeps_ordinary_text() -> None:
    text = "Grüße,\n\t👩‍🚀 שלום"
    assert printable(text) == text


def test_a_wrong_key_is_named(endpoint: Endpoint) -> None:
    error = asked(endpoint, key=SecretStr("wrong"))
    assert isinstance(error, AccessDenied)
    assert error.message == "the endpoint refuses the key"
    assert "`hieno keys`" in error.hint


def test_a_key_that_is_no_key_is_refused_before_it_is_sent(endpoint: Endpoint) -> None:
    assert asked(endpoint, key=SecretStr("schlüssel")).message == (
        "the key holds characters that no key has"
    )
    assert endpoint.headers == []


def test_an_endpoint_that_is_down_says_how_to_start_it(endpoint: Endpoint) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    error = asked(endpoint, url=url)
    assert isinstance(error, Unreachable)
    assert (error.message, error.hint) == (
        f"nothing answers at {url}",
        "`hieno up` starts the endpoint",
    )


def test_no_proxy_gets_to_see_the_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert piped(endpoint, "hello\n")[0] == "1 messages, the last is hello\n"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=503, headers={"retry-after": "0"}), "the model is loading; waiting"),
        (Reply(status=429, headers={"retry-after": "0"}), "the model is busy; waiting"),
        (
            Reply(
                status=424,
                headers={"ms-azureml-model-error-reason": "model_not_ready", "retry-after": "0"},
            ),
            "the model is loading; waiting",
        ),
    ],
)
def test_a_model_that_is_not_ready_is_waited_for(
    endpoint: Endpoint, reply: Reply, words: str
) -> None:
    endpoint.replies.extend([reply, reply])
    out, said = piped(endpoint, "hello\n")
    assert out == "1 messages, the last is hello\n"
    assert said == [words]


def test_a_conversation_that_is_too_long_advises_to_reset(endpoint: Endpoint) -> None:
    body = '{"error": {"message": "2100 tokens", "code": "context_length_exceeded"}}'
    wrapped = {"ms-azureml-model-error-statuscode": "400"}
    endpoint.replies.extend([Reply(pieces=["ok"]), Reply(status=424, body=body, headers=wrapped)])
    with pytest.raises(UsageError) as caught:
        piped(endpoint, "one\ntwo\n")
    assert caught.value.message == "the conversation is too long for the model: 2100 tokens"
    assert "/reset" in caught.value.hint


def test_an_error_inside_an_answer_is_an_error(endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(pieces=["so "], error_after="the engine failed"))
    error = asked(endpoint)
    assert isinstance(error, TryLater)
    assert error.message == "the model stopped: the engine failed"


def test_an_answer_that_is_cut_off_is_not_taken_for_whole(endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(pieces=["so "], drop_after=True))
    assert asked(endpoint).message == "the answer was cut off"


def test_closing_an_answer_stops_the_model(endpoint: Endpoint) -> None:
    from hieno.chat import completions

    hold = threading.Event()
    endpoint.replies.append(Reply(pieces=["so "], hold=hold))
    messages = [{"role": "user", "content": "hello"}]
    with completions.connect(endpoint.url, KEY_SECRET, None) as client:
        sampling = completions.Sampling()
        stream = completions.answer(client, "stand-in", messages, sampling, say=print)
        assert next(stream) == "so "
        stream.close()
        hold.set()
        assert isinstance(client, httpx.Client)
        assert endpoint.gone.wait(10)


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_terminal_chat_streams_stops_and_ends(endpoint: Endpoint) -> None:
    hold = threading.Event()
    endpoint.replies.extend([Reply(), Reply(pieces=["on and on"], hold=hold), Reply(), Reply()])
    endpoint.replies[2] = Reply(status=400, body="no such thing")
    with Terminal(endpoint) as terminal:
        terminal.wait_for("chatting with stand-in; /help lists the commands")
        terminal.wait_for("you> ")
        terminal.type("hello\n")
        terminal.wait_for("1 messages, the last is hello")
        terminal.wait_for("you> ")
        terminal.type("talk\n")
        terminal.wait_for("on and on")  # streamed: the endpoint holds the rest back
        terminal.interrupt()
        terminal.wait_for("(stopped)")
        hold.set()
        terminal.wait_for("you> ")
        terminal.type("and?\n")
        terminal.wait_for("error: the endpoint answered HTTP 400: no such thing")
        terminal.wait_for("you> ")  # an error does not end the chat
        terminal.type("still?\n")
        terminal.wait_for("5 messages, the last is still?")  # what was stopped is remembered
        terminal.wait_for("you> ")
        assert terminal.interrupt_until_it_ends() == 130


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_key_that_is_replaced_ends_a_terminal_chat(endpoint: Endpoint) -> None:
    with Terminal(endpoint) as terminal:
        terminal.wait_for("you> ")
        endpoint.replies.append(Reply(status=401, body="key_auth_access_denied"))
        terminal.type("hello\n")
        terminal.wait_for("the endpoint refuses the key")
        assert terminal.process.wait(20) == 1  # uncaught here; the command line gives it its code


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_terminal_chat_ends_at_the_end_of_its_input(endpoint: Endpoint) -> None:
    with Terminal(endpoint) as terminal:
        terminal.wait_for("you> ")
        terminal.type("\x04")
        assert terminal.process.wait(20) == 0


PROGRAM = """
import os
from pydantic import SecretStr
from hieno.chat import chat
raise SystemExit(chat(os.environ["URL"], SecretStr(os.environ["HIENO_API_KEY"])))
"""


class Terminal:
    """A chat in a process of its own behind a pseudo-terminal."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.controller, device = os.openpty()
        environment = os.environ | {"URL": endpoint.url, "HIENO_API_KEY": KEY, "TERM": "dumb"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=device,
            stdout=device,
            stderr=device,
            env=environment,
            start_new_session=True,
        )
        os.close(device)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.controller)

    def type(self, text: str) -> None:
        os.write(self.controller, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def interrupt_until_it_ends(self) -> int:
        """Press Ctrl-C again while nothing happens: readline misses one that comes too early."""
        for _ in range(6):
            self.interrupt()
            with suppress(subprocess.TimeoutExpired):
                return self.process.wait(5)
        raise AssertionError(f"Ctrl-C does not end the chat: {self.seen!r}")

    def wait_for(self, text: str) -> None:
        """Read until `text` appears, and forget everything up to its end."""
        deadline = time.monotonic() + 30
        while text not in self.seen:
            ready, _, _ = select.select([self.controller], [], [], 0.5)
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            if ready:
                self.seen += os.read(self.controller, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]
