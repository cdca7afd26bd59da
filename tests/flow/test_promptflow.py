"""The generated flow in the real prompt flow, with a stand-in for the endpoint.

The side environment is made once per user; the first run needs a package index.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import psutil
import pytest
from flow_served import BUSY, KEY_SECRET, REFUSED, pieces, score
from pydantic import SecretStr

from endpoint import KEY, Endpoint, Reply
from hieno import flow, ports, processes
from hieno.errors import HienoError
from hieno.flow import side
from hieno.flow.chat_project import Chat, files
from hieno.flow.frameworks import PROMPTFLOW
from hieno.processes import is_alive
from hieno.project import home

pytestmark = pytest.mark.usefixtures("fresh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project") / "flow"
    flow.init(made, name="my-model")
    dag = made / "flow.dag.yaml"
    text = dag.read_text(encoding="utf-8").replace("max_new_tokens: 512", "max_new_tokens: 99999")
    dag.write_text(text, encoding="utf-8")
    return made


def test_a_conversation_of_two_turns_reaches_the_endpoint(folder: Path, endpoint: Endpoint) -> None:
    done = flow.test(folder, endpoint.url, KEY_SECRET, questions=["Hello", "Again"], say=print)
    assert done.answers == ("1 messages, the last is Hello", "3 messages, the last is Again")
    first, second = (request["input_data"][0] for request in endpoint.requests)
    assert first == [{"role": "user", "content": "Hello"}]
    assert second == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "1 messages, the last is Hello"},
        {"role": "user", "content": "Again"},
    ]
    left = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert left - {".hieno-generated.json"} == set(files(Chat("my-model"), PROMPTFLOW))
    for file, content in side.PRIVATE_HOME.items():  # prompt flow found nothing to add
        assert (home() / "promptflow" / file).read_text(encoding="utf-8") == content


def test_a_wrong_key_fails_the_test_of_a_flow(folder: Path, endpoint: Endpoint) -> None:
    with pytest.raises(HienoError) as caught:
        flow.test(folder, endpoint.url, SecretStr("wrong"), questions=["Hello"], say=print)
    assert caught.value.message.endswith(
        "(EndpointError) the endpoint refuses the key (HTTP 401): set HIENO_API_KEY"
    )
    assert "wrong" not in caught.value.message


def test_the_page_of_prompt_flow_opens(served: flow.Served) -> None:
    page = httpx.get(served.url, trust_env=False)
    assert page.status_code == 200
    assert "<title>Local Server Test App</title>" in page.text


def test_an_answer_comes_whole_or_streamed(served: flow.Served) -> None:
    assert score(served, "hi").json() == {"answer": "1 messages, the last is hi"}
    assert pieces(served, "hi") == ["1 messages, ", "the last is ", "hi"]


def test_an_endpoint_that_does_not_stream_is_understood(
    served: flow.Served, endpoint: Endpoint
) -> None:
    endpoint.replies.append(Reply(streams=False))
    assert score(served, "hi").json() == {"answer": "1 messages, the last is hi"}


def test_history_is_capped_and_failed_turns_are_left_out(
    served: flow.Served, endpoint: Endpoint
) -> None:
    turns: list[object] = [
        {"inputs": {"question": f"q{n}"}, "outputs": {"answer": f"a{n}"}} for n in range(198)
    ]
    score(served, "hi", chat_history=[*turns, {"inputs": {"question": "q"}, "outputs": {}}, "x"])
    (messages,) = endpoint.requests[0]["input_data"]
    said = [message["content"] for message in messages]
    assert (said[0], said[-2:], len(said)) == ("q192", ["a197", "hi"], 13)


@pytest.mark.parametrize("question", ["", " \n\t"], ids=["empty", "blank"])
def test_an_empty_question_is_an_error_and_is_not_sent(
    served: flow.Served, endpoint: Endpoint, question: str
) -> None:
    reply = score(served, question)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].endswith("(EndpointError) the question is empty")
    assert endpoint.requests == []


def test_a_question_of_a_megabyte_is_refused_in_the_endpoints_words(
    served: flow.Served, endpoint: Endpoint
) -> None:
    endpoint.replies.append(Reply(status=413, body='{"message": "the body is too large"}'))
    reply = score(served, "x" * 1_000_000)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].endswith("HTTP 413: the body is too large")


@pytest.mark.parametrize("reply", BUSY.values(), ids=BUSY)
def test_a_busy_or_starting_endpoint_is_asked_again(
    served: flow.Served, endpoint: Endpoint, reply: Reply
) -> None:
    endpoint.replies.append(reply)
    assert score(served, "hi").json() == {"answer": "1 messages, the last is hi"}
    assert len(endpoint.requests) == 2


def test_a_refusal_is_an_error_and_is_not_repeated(served: flow.Served, endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(status=424, body="too long", headers=REFUSED))
    reply = score(served, "hi")
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == (
        "Execution failure in 'chat': (EndpointError) the endpoint answered HTTP 400: too long"
    )
    assert len(endpoint.requests) == 1


def test_an_error_before_the_first_word_is_an_error(
    served: flow.Served, endpoint: Endpoint
) -> None:
    endpoint.replies.append(Reply(pieces=[], error_after="the engine failed"))
    reply = score(served, "hi")
    assert reply.status_code == 400
    assert "the endpoint stopped: the engine failed" in reply.json()["error"]["message"]


def test_an_answer_that_is_cut_off_says_so(served: flow.Served, endpoint: Endpoint) -> None:
    endpoint.replies.append(Reply(pieces=["so "], error_after="the engine failed"))
    assert score(served, "hi").json() == {
        "answer": "so \n\n[the answer was cut off: the endpoint stopped: the engine failed]"
    }
    assert len(endpoint.requests) == 1
    endpoint.replies.append(Reply(pieces=["so "], drop_after=True))
    assert score(served, "hi").json() == {
        "answer": "so \n\n[the answer was cut off: "
        "the connection to the endpoint was lost (RemoteProtocolError)]"
    }


def test_a_question_is_required(served: flow.Served, endpoint: Endpoint) -> None:
    reply = httpx.post(f"{served.url}score", json={"questoin": "hi"}, trust_env=False)
    assert reply.status_code == 400
    assert "Required input fields ['question'] are missing" in reply.text
    assert endpoint.requests == []


def test_the_longest_answer_has_a_limit_whatever_the_flow_says(
    served: flow.Served, endpoint: Endpoint
) -> None:
    score(served, "hi")
    assert endpoint.requests[0]["params"] == {
        "max_new_tokens": 1024,
        "temperature": 0.0,
        "do_sample": False,
    }


def test_the_key_is_nowhere_but_in_the_environment(served: flow.Served, folder: Path) -> None:
    process = psutil.Process(served.process.pid)
    assert KEY not in " ".join(process.cmdline())
    assert KEY not in repr(served)
    assert process.environ()["HIENO_API_KEY"] == KEY
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(KEY.encode() not in path.read_bytes() for path in files)


def test_one_server_serves_until_something_changes(
    folder: Path, endpoint: Endpoint, served: flow.Served, tmp_path: Path
) -> None:
    first = flow.start(
        folder, endpoint.url, KEY_SECRET, state=tmp_path, port=served.port, say=print
    )
    try:
        assert first.port != served.port  # taken by the other one
        assert flow.start(folder, endpoint.url, KEY_SECRET, state=tmp_path, say=print) == first
        assert flow.status(tmp_path) == first
        files = [tmp_path / "serve.json", tmp_path / "serve.log"]
        assert all(KEY not in file.read_text(encoding="utf-8") for file in files)
        if os.name != "nt":
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        second = flow.start(folder, endpoint.url, SecretStr("new"), state=tmp_path, say=print)
        assert second.process != first.process
        assert not is_alive(first.process)
    finally:
        assert flow.stop(tmp_path)
    assert flow.status(tmp_path) is None
    assert not flow.stop(tmp_path)
    assert is_alive(served.process)


def test_a_server_that_took_the_port_meanwhile_is_not_taken_for_ours(
    folder: Path,
    endpoint: Endpoint,
    served: flow.Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = iter([served.port, ports.free_port()])  # the first was free when it was looked at
    monkeypatch.setattr(ports, "free_port", lambda _: next(found))
    second = flow.start(folder, endpoint.url, KEY_SECRET, state=tmp_path, say=print)
    try:
        assert second.port != served.port
        assert processes.listens(second.process, second.port)
    finally:
        flow.stop(tmp_path)


def test_a_flow_that_cannot_start_shows_why(endpoint: Endpoint, tmp_path: Path) -> None:
    flow.init(tmp_path / "flow", name="my-model")
    (tmp_path / "flow" / "flow.dag.yaml").write_text("nodes: 7\n", encoding="utf-8")
    with pytest.raises(HienoError, match=r"the flow's server did not start\n.+"):
        flow.start(tmp_path / "flow", endpoint.url, KEY_SECRET, state=tmp_path / "s", say=print)
    assert flow.status(tmp_path / "s") is None
