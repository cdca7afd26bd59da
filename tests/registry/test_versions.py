from __future__ import annotations

from pathlib import Path
from typing import Any

from hieno.registry.versions import add, aliases, champion, set_alias, versions

LINEAGE: dict[str, Any] = {"run": {"key": "r", "digest": "d"}, "dataset": {"digest": "x"}}


def register(registry: Path, digest: str) -> int:
    package = registry / "packages" / digest
    return add(registry, name="m", package=package, digest=digest, lineage=LINEAGE).version


def test_versions_are_numbered_and_the_same_package_keeps_its_number(tmp_path: Path) -> None:
    assert [register(tmp_path, digest) for digest in ("aa", "bb", "aa")] == [1, 2, 1]
    assert [version.digest for version in versions(tmp_path)] == ["aa", "bb"]


def test_a_new_champion_takes_the_alias_from_the_old_one(tmp_path: Path) -> None:
    register(tmp_path, "aa")
    set_alias(tmp_path, "champion", 1)
    register(tmp_path, "bb")
    set_alias(tmp_path, "challenger", 2)
    first = champion(tmp_path)
    assert first is not None
    assert first.version == 1
    set_alias(tmp_path, "champion", 2)
    assert aliases(tmp_path) == {"champion": 2}


def test_versions_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(12):
        register(tmp_path, f"digest-{number}")
    assert [version.version for version in versions(tmp_path)] == list(range(1, 13))


def test_an_empty_registry_has_no_champion(tmp_path: Path) -> None:
    assert champion(tmp_path) is None
