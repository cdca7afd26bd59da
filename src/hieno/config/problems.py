"""What is wrong with a configuration: every problem at once, each with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any  # values as they were given

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hieno.config.tree import keys
from hieno.errors import ConfigError


def explain(error: ValidationError, places: Mapping[str, str], path: Path | None) -> ConfigError:
    """Return the error that names every problem, in the order of the file."""
    problems = sorted(
        {_problem(details, places, path) for details in error.errors()}, key=_place_order
    )
    count = "" if len(problems) == 1 else f"{len(problems)} problems in the configuration\n"
    return ConfigError(
        count + "\n".join(problems),
        hint="`hieno config schema` describes every key; `hieno config show` prints what is used",
    )


def _problem(details: ErrorDetails, places: Mapping[str, str], path: Path | None) -> str:
    key = ".".join(str(part) for part in details["loc"] if part not in ("list[str]",))
    known = key
    while known not in places and "." in known:
        known = known.rpartition(".")[0]
    place = places.get(known, path.name if path else "configuration")
    if details["type"] == "extra_forbidden":
        return f"{place}: unknown key '{key}'{_did_you_mean(key)}"
    words = details["msg"].removeprefix("Value error, ")
    words = words[0].lower() + words[1:]
    value = details["input"]
    if isinstance(value, Mapping):  # a rule between keys of a section: its words name them
        return f"{place}: {key}: {words}"
    return f"{place}: {key}: {words} (it is {_without_password(value)})"


def _without_password(value: Any) -> str:
    return re.sub(r"://[^/@\s]*@", "://***@", repr(value))


def _did_you_mean(key: str) -> str:
    section, _, last = key.rpartition(".")
    prefix = f"{section}." if section else ""
    siblings = {
        known.removeprefix(prefix).partition(".")[0] for known in keys() if known.startswith(prefix)
    }
    near = difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{prefix}{near[0]}'?"
    elsewhere = [known for known in keys() if known.rpartition(".")[2] == last]
    return f"; did you mean '{elsewhere[0]}'?" if elsewhere else ""


def _place_order(problem: str) -> tuple[str, int, str]:
    found = re.match(r"([^:]*):(\d+):", problem)
    return (found[1], int(found[2]), problem) if found else ("", 0, problem)
