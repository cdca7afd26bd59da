"""The scoring script: our container behind Azure's own inference server.

It runs in the server's Python, which has none of our packages. So it starts the container in the
environment that the image has for it, and hands each request on as it came: `/score` is answered by
the same code as everywhere. The header `hieno-route` leads to the container's other addresses, as
Azure's server has no others.
"""

from __future__ import annotations

import atexit
import http.client
import os
import socket
import subprocess
import sys
import threading
import time

from azureml_inference_server_http.api.aml_request import AMLRequest, rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse

_TIMEOUT = 180.0  # seconds; Azure's bound for an answer
_LOOK = 0.2
_DYING = 2.0  # seconds in which a process that dropped its connections is seen to have ended
_NOT_PASSED = {"host", "connection", "content-length", "transfer-encoding", "authorization"}
# What the server sets itself, or what belongs to one connection.
_NOT_RETURNED = {
    "connection",
    "content-length",
    "transfer-encoding",
    "date",
    "keep-alive",
    "server",
}


class Container:
    """The container's process, started again when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def port(self) -> int:
        """Return where it answers, once it does. Raises `RuntimeError` if it ends before."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            return self._port

    def has_ended(self) -> bool:
        """Tell whether it is gone, as the connection to it suggests."""
        try:
            return self._process is None or self._process.wait(_DYING) is not None
        except subprocess.TimeoutExpired:
            return False

    def end(self) -> None:
        """End it with this process."""
        if self._process is not None:
            self._process.terminate()

    def _start(self) -> None:
        self._port = _free_port()
        python = os.environ.get("HIENO_PYTHON", sys.executable)
        words = ["-X", "utf8", "-m", "hieno.serve", "--port", str(self._port)]
        self._process = subprocess.Popen([python, *words])
        while not self._is_ready():
            code = self._process.poll()
            if code is not None:
                raise RuntimeError(f"the container ended with exit code {code}; it has said why")
            time.sleep(_LOOK)

    def _is_ready(self) -> bool:
        try:
            return _ask(self._port, "GET", "/health", b"", {})[0] == 200
        except OSError:
            return False


_container = Container()


def init() -> None:
    """Start the container, once, when Azure's server starts."""
    atexit.register(_container.end)
    _container.port()


@rawhttp  # type: ignore[untyped-decorator]  # Azure's
def run(request: AMLRequest) -> AMLResponse:
    """Hand one request to the container and its answer back."""
    headers = {name: value for name, value in request.headers if name.lower() not in _NOT_PASSED}
    question = (request.method, "/score", request.get_data(), headers)
    try:
        status, told, body = _ask(_container.port(), *question)
    except (OSError, http.client.HTTPException):
        if not _container.has_ended():
            raise
        status, told, body = _ask(_container.port(), *question)  # an answer changes nothing
    kept = {name: value for name, value in told.items() if name.lower() not in _NOT_RETURNED}
    response = AMLResponse(body, status)
    for name, value in kept.items():
        response.headers[name] = value
    return response


def _ask(
    port: int, method: str, target: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        connection.request(method, target, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
