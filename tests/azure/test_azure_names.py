"""Names on Azure: within every service's rules, the same on every machine, unique."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hieno.config import Config, load
from hieno.targets.azure import names as naming

ROOT = Path(__file__).parents[2]
MINE = "11111111-2222-3333-4444-555555555555"
YOURS = "99999999-2222-3333-4444-555555555555"
WORKSPACE = (
    f"/subscriptions/{YOURS}/resourceGroups/team/providers"
    "/Microsoft.MachineLearningServices/workspaces/ours"
)
WORDS = st.text("abcXYZ019", min_size=1, max_size=9)
PROJECTS = st.lists(WORDS, min_size=1, max_size=6).map(lambda words: f"ab{'-'.join(words)}"[:32])
SIZES = st.builds(
    "Standard_{}{}{}{}".format,
    st.sampled_from(["D", "NC", "E", "FX"]),
    st.integers(1, 128),
    st.sampled_from(["", "s", "-16ads", "bs_ABC99"]),
    st.sampled_from(["", "_v3", "_A100_v4", "_MI300X_v5", "_v12345"]),
)


def config(**flags: object) -> Config:
    return load(None, flags=flags, environment={}).config


@settings(max_examples=50, deadline=None)
@given(PROJECTS, PROJECTS, SIZES)
def test_every_project_has_names_that_azure_takes(name: str, endpoint: str, size: str) -> None:
    flags = {"endpoint.name": endpoint.rstrip("-"), "azure.cluster.size": size}
    chosen = config(name=name.rstrip("-"), **flags)
    assert naming.problems(naming.derive(chosen, MINE)) == []


def test_names_are_the_same_on_every_machine_and_others_elsewhere() -> None:
    mine = naming.derive(config(name="books"), MINE)
    assert mine == naming.derive(config(name="Books"), MINE.upper())
    theirs = asdict(naming.derive(config(name="books"), YOURS))
    same = {kind for kind, name in asdict(mine).items() if theirs[kind] == name}
    assert same == {
        *("resource_group", "stack", "insights", "logs", "identity", "jobs_identity", "cluster")
    }


def test_a_suffix_of_ones_own_ends_every_unique_name() -> None:
    found = naming.derive(config(**{"name": "books", "azure.suffix": "x7k2"}), MINE)
    assert found.workspace == "mlw-books-x7k2"
    assert (found.storage, found.registry) == ("stbooksx7k2", "crbooksx7k2")
    assert (found.vault, found.endpoint) == ("kv-books-x7k2", "hieno-x7k2")


def test_what_is_brought_keeps_its_name_and_its_group() -> None:
    found = naming.derive(config(**{"azure.bring.workspace": WORKSPACE}), YOURS)
    assert (found.workspace, found.resource_group) == ("ours", "team")


def test_another_size_or_priority_is_another_cluster() -> None:
    def cluster(**flags: object) -> str:
        return naming.derive(config(**flags), MINE).cluster

    assert cluster() == "nc24ads-a100-v4-jobs"
    assert cluster(**{"azure.cluster.low_priority": True}) == "nc24ads-a100-v4-low"
    assert cluster(**{"azure.preset": "cpu"}) == "e16s-v3-jobs"


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("workspace", "microsoft.machinelearningservices/2025-12-01"),
        ("vault", "microsoft.keyvault/2025-05-01"),
        ("registry", "microsoft.containerregistry/2025-11-01"),
        ("logs", "microsoft.operationalinsights/2025-02-01"),
    ],
)
def test_the_rules_are_those_that_microsoft_publishes(kind: str, place: str) -> None:
    given_path = os.environ.get("HIENO_AZURE_SCHEMAS")
    folder = Path(given_path) if given_path else ROOT.parent / "shared" / "azure-schemas"
    if not folder.is_dir():
        pytest.skip("Microsoft's published types are not here; HIENO_AZURE_SCHEMAS names them")
    types = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (folder / "bicep-types" / place).glob("*.types.json")
    ]
    patterns = {
        one["pattern"] for kinds in types for one in kinds if one.get("pattern", "").startswith("^")
    }
    name = asdict(naming.derive(config(name="a-very-long-project-name-of-32x"), MINE))[kind]
    assert any(re.search(pattern, name) for pattern in patterns), (name, patterns)
