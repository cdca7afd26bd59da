"""The vLLM engine against a stand-in in a process of its own (`vllm_server.py`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from serving import Client, error_of, events, run
from vllm_server import DIE, END, FAIL, REFUSE

from hieno import environments, ports
from hieno.config import Serve
from hieno.errors import HienoError, MissingInput
from hieno.serve.answer import Completion, complete
from hieno.serve.engines import Engine, EngineFailed, Sampling
from hieno.serve.engines.choice import choose_engine
from hieno.serve.engines.vllm import Vllm, open_vllm
from hieno.serve.model import Model
from hieno.templates import render_prompt
from loopback import Speaking, served
from waiting import wait_until

SETTINGS = Serve(max_new_tokens=64, max_requests=4, cache_gb=0.5)
GREEDY = Sampling(max_new_tokens=13, ignore_eos=True)
STAND_IN = Path(__file__).with_name("vllm_server.py")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home in which the side environment of vLLM is the stand-in."""
    place = tmp_path_factory.mktemp("vllm")
    patch = pytest.MonkeyPatch()
    patch.setenv("HIENO_HOME", str(place / "home"))
    patch.setenv("VLLM_STAND_IN", str(place))
    patch.setenv("OMP_NUM_THREADS", "1")
    folder = environments.folder("vllm")
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    program = folder / "bin" / "vllm"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{STAND_IN}' \"$@\"\n", "utf-8")
    program.chmod(0o700)
    (folder / environments.MARKER).touch()
    yield place
    patch.undo()


@pytest.fixture(scope="module")
def vllm(place: Path, model: Model) -> Iterator[Vllm]:
    opened = open_vllm(model, SETTINGS)
    yield opened
    opened.close()


def calls(place: Path, kind: str) -> list[Any]:
    path = place / "calls.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [call for call in map(json.loads, lines) if kind in call]


def prompt_of(model: Model, text: str) -> list[int]:
    return render_prompt(model.tokenizer, [{"role": "user", "content": text}])


def answer(engine: Engine, model: Model, prompt: list[int], how: Sampling) -> Completion:
    return run(complete(engine, model, prompt, how))


def test_it_is_started_on_loopback_with_a_key_that_no_process_list_shows(
    vllm: Vllm, place: Path, model: Model
) -> None:
    [started] = calls(place, "arguments")
    given = started["arguments"]
    assert given[:2] == ["serve", str(model.folder)]
    options = dict(zip(given[2::2], given[3::2], strict=False))
    port = options.pop("--port")
    assert options == {
        "--served-model-name": "hieno",
        "--host": "127.0.0.1",
        "--max-model-len": "2048",
        "--max-num-seqs": "4",
        "--kv-cache-memory-bytes": "500000000",
        "--generation-config": "vllm",
    }
    process = psutil.Process(started["pid"])
    key = process.environ()["VLLM_API_KEY"]
    assert len(key) == 64
    family = [process, *process.parents()[:2]]
    assert not any(key in " ".join(one.cmdline()) for one in family)
    import httpx

    body = {"prompt": [1]}
    url = f"http://127.0.0.1:{port}/v1/completions"
    assert httpx.post(url, json=body, headers={"authorization": "x"}).status_code == 401


def test_answers_are_the_tokens_that_it_sends(vllm: Vllm, engine: Engine, model: Model) -> None:
    for question in ("Who?", "ä日👍"):
        prompt = prompt_of(model, question)
        for how in (GREEDY, replace(GREEDY, temperature=0.9, seed=3), replace(GREEDY, top_k=1)):
            assert answer(vllm, model, prompt, how) == answer(engine, model, prompt, how)


def test_every_setting_reaches_it(vllm: Vllm, place: Path, model: Model) -> None:
    schema = '{"type":"object"}'
    how = Sampling(
        max_new_tokens=3,
        temperature=0.7,
        top_p=0.9,
        top_k=5,
        repetition_penalty=1.1,
        seed=9,
        json_schema=schema,
    )
    answer(vllm, model, [7, 8, 9], how)
    assert calls(place, "body")[-1]["body"] == {
        "model": "hieno",
        "prompt": [7, 8, 9],
        "max_tokens": 3,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "repetition_penalty": 1.1,
        "ignore_eos": False,
        "stop_token_ids": sorted(model.stop_ids),
        "add_special_tokens": False,
        "return_token_ids": True,
        "stream": True,
        "seed": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}},
        },
    }


def test_routes_stream_and_refuse_as_with_any_engine(vllm: Vllm, model: Model) -> None:
    client = Client(vllm, model, SETTINGS)
    whole = client.chat(max_tokens=9, ignore_eos=True).json()
    assert whole["usage"]["completion_tokens"] == 9
    assert whole["system_fingerprint"] == "hieno_vllm"
    chunks = events(client.chat(max_tokens=9, ignore_eos=True, stream=True))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == whole["choices"][0]["message"]["content"]
    assert error_of(client.chat(n=2))["param"] == "n"


def test_an_answer_that_nobody_waits_for_is_dropped_there(
    vllm: Vllm, place: Path, model: Model
) -> None:
    before = len(calls(place, "cancelled"))

    async def leave() -> None:
        endless = Sampling(max_new_tokens=2000, ignore_eos=True)
        async with aclosing(vllm.generate(prompt_of(model, "Who?"), endless)) as tokens:
            await anext(tokens)

    run(leave())
    wait_until(
        lambda: len(calls(place, "cancelled")) == before + 1, "the server dropped it", seconds=180
    )


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (REFUSE, "it answered 400"),
        (FAIL, "it reported an error"),
        (END, "it ended before the answer did"),
    ],
)
def test_what_goes_wrong_there_is_said_without_its_words(
    vllm: Vllm, model: Model, first: int, words: str
) -> None:
    with pytest.raises(EngineFailed, match=words) as caught:
        answer(vllm, model, [first, 500], GREEDY)
    assert "500" not in caught.value.message
    assert "0x7f" not in caught.value.message
    assert vllm.healthy()


def test_answers_at_the_same_time_are_not_mixed(vllm: Vllm, engine: Engine, model: Model) -> None:
    prompts = [prompt_of(model, f"{number} boats?") for number in range(4)]

    async def together() -> list[Completion]:
        return list(await asyncio.gather(*(complete(vllm, model, p, GREEDY) for p in prompts)))

    assert run(together()) == [answer(engine, model, each, GREEDY) for each in prompts]


def test_a_lost_server_fails_its_answers_and_is_unhealthy(place: Path, model: Model) -> None:
    opened = open_vllm(model, SETTINGS)
    try:
        with pytest.raises(EngineFailed, match="did not finish the answer"):
            answer(opened, model, [DIE], GREEDY)
        wait_until(lambda: not opened.healthy(), "the loss is noticed", seconds=180)
        with pytest.raises(EngineFailed, match="ConnectError"):
            answer(opened, model, [7], GREEDY)
    finally:
        opened.close()


def test_it_never_outlives_the_container(place: Path, tiny_model: Path, tmp_path: Path) -> None:
    import subprocess

    from hieno.ports import free_port
    from hieno.processes import python_module

    command = python_module("hieno.serve", str(tiny_model), "--port", str(free_port()))
    log = tmp_path / "log"
    before = len(calls(place, "pid"))
    with log.open("wb") as output:
        container = subprocess.Popen([*command, "--engine", "vllm"], stderr=output, stdout=output)
    try:
        wait_until(
            lambda: "hieno: ready" in log.read_text("utf-8"), "a ready container", seconds=180
        )
        [started] = calls(place, "pid")[before:]
        assert psutil.pid_exists(started["pid"])
        assert log.read_text("utf-8").startswith("hieno: engine vllm: it was asked for\n")
    finally:
        os.kill(container.pid, signal.SIGKILL)
        container.wait()
    wait_until(
        lambda: not psutil.pid_exists(started["pid"]), "it ended with the container", seconds=180
    )


def test_a_server_that_does_not_start_is_an_error_with_a_way_out(
    place: Path, model: Model, capfd: pytest.CaptureFixture[str]
) -> None:
    (place / "broken").touch()
    try:
        with pytest.raises(HienoError, match="vllm ended with exit code 1") as caught:
            open_vllm(model, SETTINGS)
    finally:
        (place / "broken").unlink()
    assert caught.value.hint == "the lines above say why; `--engine transformers` always works"
    assert "CUDA is not available" in capfd.readouterr().err


def test_who_has_its_port_is_not_taken_for_it(
    place: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stranger(Speaking):
        def do_GET(self) -> None:
            self.send(200, b"{}", {})

    with served(Stranger) as url:
        taken = int(url.rpartition(":")[2])
        monkeypatch.setattr(ports, "free_port", lambda: taken)  # as it was when it was looked at
        with pytest.raises(HienoError, match="vllm ended with exit code"):
            open_vllm(model, SETTINGS)


def test_it_is_chosen_where_a_gpu_and_its_environment_are(
    place: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 81559'\n", encoding="utf-8")
    driver.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    choice = choose_engine(tiny_model)
    assert (choice.name, choice.reason) == (
        "vllm",
        "this machine has a GPU (NVIDIA H100 80GB HBM3)",
    )
    assert choose_engine(tiny_model, "transformers").name == "transformers"
    monkeypatch.setenv("HIENO_HOME", str(tmp_path / "elsewhere"))
    assert choose_engine(tiny_model).name == "transformers"
    with pytest.raises(MissingInput, match="side environment of vLLM is not there"):
        choose_engine(tiny_model, "vllm")
