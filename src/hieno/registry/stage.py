"""The stage `register`: a package and its evaluation become a model version with an alias."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any  # facts are JSON

from hieno.files import Manifest, read_manifest
from hieno.package.layout import FORMATS
from hieno.registry import tracking, versions
from hieno.reporting import Reporter
from hieno.stages import StagePlan, publish


def run(plan: StagePlan, reporter: Reporter) -> None:
    """Register `inputs["package"]`: champion if the gate let it through, else challenger.

    With a waiver it becomes champion in spite of the gate, and its lineage says so. The
    registration is then shown in MLflow. Where MLflow cannot be reached, the version is registered
    all the same and the user is told how to show it later.
    """
    package, evaluation = _manifest(plan, "package"), _manifest(plan, "evaluation")
    registry = Path(plan.settings["registry"])
    version = versions.add(
        registry,
        name=plan.settings["name"],
        package=plan.input("package"),
        digest=package.digest,
        lineage=_lineage(package, evaluation, plan.settings["waiver"]),
    )
    gate = version.lineage["gate"]
    alias = "champion" if gate["passed"] or gate["waiver"] else "challenger"
    versions.set_alias(registry, alias, version.version)
    with publish(plan, "registration") as (_, facts):
        facts.update(name=version.name, version=version.version, alias=alias, gate=gate)
    tracking.show(tracking.Place(**plan.settings["tracking"]), reporter)


def _manifest(plan: StagePlan, role: str) -> Manifest:
    found = read_manifest(plan.input(role))
    if found is None:  # verified before the stage started
        raise AssertionError(f"{role} is a published folder")
    return found


def _lineage(
    package: Manifest, evaluation: Manifest, waiver: dict[str, Any] | None
) -> dict[str, Any]:
    gate = evaluation.facts["gate"]
    return {
        "package": {"key": package.key, "digest": package.digest},
        "run": {name: package.facts["run"][name] for name in ("key", "digest")},
        "dataset": {"digest": package.facts["dataset"]["digest"]},
        "base": {"digest": package.facts["base"]["digest"]},
        "weights": _weights(package.facts),
        "evaluation": {"key": evaluation.key, "digest": evaluation.digest},
        "scores": evaluation.facts["scores"],
        "champion": evaluation.facts["champion"],
        "gate": {"passed": gate["passed"], "reasons": gate["reasons"], "waiver": waiver},
    }


def _weights(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weight format that serves, those that may, and what was measured of each."""
    served, measured = facts.get("weights"), facts.get("formats", {})
    allowed = [name for name in FORMATS if measured.get(name, {}).get("allowed")]
    return {"served": served, "allowed": allowed or [served or "fp32"], "measured": measured}
