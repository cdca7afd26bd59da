"""No connection leaves the machine: every system call that opens one is recorded."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from endpoint import KEY, Endpoint
from hieno import flow
from hieno.flow import side
from hieno.flow.frameworks import FRAMEWORKS

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs Debian's package strace"),
]
LOOPBACK = ("127.0.0.1", "::1")
ADDRESS = re.compile(r'inet_(?:addr\(|pton\(AF_INET6, )"([^"]+)"')


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_nothing_connects_elsewhere_from_the_first_byte_on(
    tmp_path: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, framework: str
) -> None:
    trace = tmp_path / "trace"
    calls = "trace=connect,sendto,sendmsg"
    recorded = ["strace", "-f", "-qq", "-A", "--seccomp-bpf", "-e", calls, "-o", str(trace)]
    for name in ("command", "script"):
        plain = getattr(side, name)
        monkeypatch.setattr(side, name, lambda *args, p=plain: [*recorded, *p(*args)])
    folder = tmp_path / "made"
    flow.init(folder, name="my-model", framework=FRAMEWORKS[framework])
    key = SecretStr(KEY)
    flow.test(folder, endpoint.url, key, questions=["Hello"], say=print)
    served = flow.start(folder, endpoint.url, key, state=tmp_path / "state", say=print)
    try:
        reply = httpx.post(
            f"{served.url}score", json={"question": "hi"}, timeout=60, trust_env=False
        )
        assert reply.json() == {"answer": "1 messages, the last is hi"}
        if framework == "agent-framework":
            state = tmp_path / "page"
            page = flow.start(folder, endpoint.url, key, state=state, page=True, say=print)
            assert "<html" in httpx.get(page.url, trust_env=False).text
    finally:
        flow.stop(tmp_path / "state")
        flow.stop(tmp_path / "page")
    text = trace.read_text(encoding="utf-8")
    places = ADDRESS.findall(text)
    assert len(places) >= 2  # the endpoint, from the test and from the server: it does record
    assert [place for place in places if place not in LOOPBACK] == []
