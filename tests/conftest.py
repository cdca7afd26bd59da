"""What every test shares: a tiny real model, a private home, and no network but loopback."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny import make_model

for _variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


# The files that take longest: begun last, one of them would keep a worker busy after the other.
LONGEST = (
    "test_pipeline.py",
    "test_target_contract.py",
    "test_azure_end_to_end.py",
    "test_serve_vllm.py",
    "test_kills.py",
    "test_loop.py",
    "test_group.py",
    "test_sharding.py",
    "test_chat_page.py",
    "test_azure_target_campaign.py",
    "test_endpoint_soak.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: a random two-layer Phi-3 with a ChatML tokenizer."""
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(autouse=True)
def _only_loopback(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail any test whose own process connects to another machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in ("127.0.0.1", "::1", "localhost", "unix"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = guarded  # type: ignore[method-assign,assignment]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def tiny_package(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A package root of the tiny model, converted for OpenVINO; None where that cannot run."""
    import shutil

    from hieno.errors import HienoError
    from hieno.package import layout
    from hieno.package.convert import choose_engine, convert_base

    if choose_engine("auto") != "openvino":
        return None
    root = tmp_path_factory.mktemp("tiny-package")
    shutil.copytree(tiny_model, root / layout.MODEL)
    try:
        convert_base(root, engine="openvino", weights="fp32", say=print)
    except HienoError as error:
        print(f"no converted tiny model: {error.message}")
        return None
    return root
