"""The generated agent project in the real Agent Framework, with a stand-in for the endpoint."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from flow_served import BUSY, KEY_SECRET, REFUSED, pieces, score
from pydantic import SecretStr

from endpoint import KEY, Endpoint, Reply
from hieno import flow
from hieno.errors import HienoError, UsageError
from hieno.flow import side
from hieno.flow.chat_project import Chat, files
from hieno.flow.frameworks import AGENTS

pytestmark = pytest.mark.usefixtures("fresh")

CUT_OFF = "so \n\n[the answer was cut off: the endpoint stopped: the engine failed]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project") / "agent"
    flow.init(made, name="my-model", framework=AGENTS)
    settings = made / "settings.toml"
    text = settings.read_text(encoding="utf-8").replace(
        "max_new_tokens = 512", "max_new_tokens = 99999"
    )
    settings.write_text(text, encoding="utf-8")
    return made


def message(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["message"])


def test_a_conversation_of_two_turns_reaches_the_endpoint(folder: Path, endpoint: Endpoint) -> None:
    done = flow.test(folder, endpoint.url, KEY_SECRET, questions=["Hello", "Again"], say=print)
    assert done.answers == ("1 messages, the last is Hello", "3 messages, the last is Again")
    assert [request["messages"][-1]["content"] for request in endpoint.requests] == [
        "Hello",
        "Again",
    ]
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left - {".hieno-generated.json"} == set(files(Chat("my-model"), AGENTS))


def test_a_wrong_key_fails_the_test_of_an_agent(folder: Path, endpoint: Endpoint) -> None:
    with pytest.raises(HienoError) as caught:
        flow.test(folder, endpoint.url, SecretStr("wrong"), questions=["Hello"], say=print)
    assert caught.value.message.endswith(
        "failed: the endpoint refuses the key (HTTP 401): set HIENO_API_KEY"
    )


def test_an_answer_comes_whole_or_streamed(served: flow.Served) -> None:
    assert score(served, "hi").json() == {"answer": "1 messages, the last is hi"}
    assert pieces(served, "hi") == ["1 messages, ", "the last is ", "hi"]


def test_the_endpoint_gets_what_the_flow_would_send_and_no_telemetry(
    served: flow.Served, endpoint: Endpoint
) -> None:
    score(served, "hi")
    (request,) = endpoint.requests
    assert request["messages"] == [{"role": "user", "content": "hi"}]
    assert (request["max_completion_tokens"], request["temperature"]) == (1024, 0.0)
    assert endpoint.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert "agent-framework" not in json.dumps(endpoint.headers[-1])


def test_history_is_capped_and_failed_turns_are_left_out(
    served: flow.Served, endpoint: Endpoint
) -> None:
    turns: list[object] = [
        {"inputs": {"question": f"q{n}"}, "outputs": {"answer": f"a{n}"}} for n in range(198)
    ]
    score(served, "hi", chat_history=[*turns, {"inputs": {"question": "q"}, "outputs": {}}, "x"])
    said = [message["content"] for message in endpoint.requests[0]["messages"]]
    assert (said[0], said[-2:], len(said)) == ("q192", ["a197", "hi"], 13)


@pytest.mark.parametrize("reply", BUSY.values(), ids=BUSY)
def test_a_busy_or_starting_endpoint_is_asked_again(
    served: flow.Served, endpoint: Endpoint, reply: Reply
) -> None:
    endpoint.replies.append(reply)
    assert score(served, "hi").json() == {"answer": "1 messages, the last is hi"}
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=424, body='{"message": "too long"}', headers=REFUSED), "HTTP 400: too long"),
        (Reply(status=413, body='{"error": {"message": "too big"}}'), "HTTP 413: too big"),
        (
            Reply(pieces=[], error_after="the engine failed"),
            "the endpoint stopped: the engine failed",
        ),
    ],
    ids=["wrapped", "large", "before the first word"],
)
def test_a_refusal_is_an_error_and_is_not_repeated(
    served: flow.Served, endpoint: Endpoint, reply: Reply, words: str
) -> None:
    endpoint.replies.append(reply)
    answered = score(served, "hi")
    assert answered.status_code == 400
    assert words in message(answered)
    assert len(endpoint.requests) == 1


def test_an_answer_that_is_cut_off_says_so(served: flow.Served, endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(pieces=["so "], error_after="the engine failed"))
    assert score(served, "hi").json() == {"answer": CUT_OFF}
    endpoint.replies.append(Reply(pieces=["so "], drop_after=True))
    assert (
        "[the answer was cut off: the connection to the endpoint was lost"
        in score(served, "hi").text
    )


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "the request is not JSON"),
        (b"[" * 100_000, 400, "the request is not JSON"),
        (b"[]", 400, "the request is not an object with 'question'"),
        (b'{"questoin": "hi"}', 400, "Required input fields ['question'] are missing"),
        (b'{"question": 7}', 400, "the input 'question' is missing or is not a text"),
        (b'{"question": " "}', 400, "the question is empty"),
        (b'{"question": "hi", "chat_history": 7}', 400, "chat_history is not a list"),
        (b'{"question": "' + b"x" * 4_000_000 + b'"}', 413, "longer than 4,000,000 bytes"),
    ],
    ids=["empty", "deep", "list", "misspelt", "number", "blank", "history", "large"],
)
def test_a_request_that_cannot_be_one_is_refused(
    served: flow.Served, endpoint: Endpoint, content: bytes, status: int, words: str
) -> None:
    reply = httpx.post(f"{served.url}score", content=content, trust_env=False)
    assert reply.status_code == status
    assert words in message(reply)
    assert endpoint.requests == []


def test_the_key_is_nowhere_but_in_the_environment(served: flow.Served, folder: Path) -> None:
    process = psutil.Process(served.process.pid)
    assert KEY not in " ".join(process.cmdline())
    assert process.environ()["HIENO_API_KEY"] == KEY
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in written)


def test_other_machines_reach_no_agent_without_a_key(folder: Path) -> None:
    command = side.script(side.python(AGENTS, print), folder / "host.py", "--host", "0.0.0.0")  # noqa: S104
    ended = subprocess.run(
        command,
        env=side.environment("http://127.0.0.1:9", KEY_SECRET),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 2
    assert "set HIENO_FLOW_KEY first" in ended.stderr


def test_a_prompt_flow_has_no_developer_page(tmp_path: Path, endpoint: Endpoint) -> None:
    flow.init(tmp_path, name="my-model")
    with pytest.raises(UsageError, match="has no developer page"):
        flow.start(tmp_path, endpoint.url, KEY_SECRET, state=tmp_path, page=True, say=print)
