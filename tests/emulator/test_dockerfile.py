"""Dockerfiles are read as Docker reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.ml.dockerfile import CannotBuild, read

MULTI = """\
# syntax=docker/dockerfile:1
ARG BASE=python:3.13
FROM ${BASE} AS base
ENV A=1 B="two words" \\
    C=${A}x
RUN pip install uv && \\
    uv pip install --system --requirement /tmp/pins.txt
ENTRYPOINT ["python", "-m", "base"]
FROM scratch AS other
ENV LOST=1
FROM base AS served
COPY --from=other /x /x
COPY *.whl /wheels/
ENV D path with spaces
CMD ["--port", "1"]
"""


def context(folder: Path, text: str) -> Path:
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    for name in ("pins.txt", "a.whl"):
        (folder / name).touch()
    return folder


def test_the_last_stage_has_what_its_beginnings_say(tmp_path: Path) -> None:
    stage = read(context(tmp_path, MULTI), "Dockerfile")
    assert stage.environment == {"A": "1", "B": "two words", "C": "1x", "D": "path with spaces"}
    assert [*stage.entrypoint, *stage.command] == ["python", "-m", "base", "--port", "1"]
    assert stage.requirements == [tmp_path / "pins.txt"]


def test_a_new_entrypoint_forgets_the_command_before_it(tmp_path: Path) -> None:
    text = 'FROM a\nCMD ["x"]\nENTRYPOINT run this\n'
    stage = read(context(tmp_path, text), "Dockerfile")
    assert [*stage.entrypoint, *stage.command] == ["/bin/sh", "-c", "run this"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM a\nCOPY gone /x\n", 'Dockerfile:2: COPY failed: "/gone": not found'),
        ("RUN true\n", "Dockerfile:1: no build stage in current context"),
        ("# nothing\n", "Dockerfile: there is no FROM in it"),
    ],
)
def test_what_docker_refuses_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(CannotBuild) as refused:
        read(context(tmp_path, text), "Dockerfile")
    assert str(refused.value) == why


def test_a_dockerfile_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CannotBuild, match="the Dockerfile Serve is not there"):
        read(tmp_path, "Serve")
