"""Resource ids: what they are made of, and how they are spelt.

Azure compares ids without case and keeps the spelling of names; words such as `resourceGroups` are
spelt by whoever wrote the client. `routing_path` makes those small, so that a route has one form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

GROUP_TYPE = "Microsoft.Resources/resourceGroups"

_WORDS = {"resourcegroups": "resourceGroups"}


@dataclass(frozen=True)
class ResourceId:
    """The id of a resource, of a resource group or of a subscription."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def key(self) -> str:
        """The form in which two ids are compared."""
        return self.text.lower().rstrip("/")

    @property
    def name(self) -> str:
        """The last name."""
        return self.text.rstrip("/").rsplit("/", 1)[1]

    @property
    def type(self) -> str:
        """`Microsoft.X/things/parts`."""
        _, found, tail = self.text.rpartition("/providers/")
        if not found:
            return (
                GROUP_TYPE
                if "/resourcegroups/" in self.key
                else "Microsoft.Resources/subscriptions"
            )
        namespace, *rest = tail.strip("/").split("/")
        return "/".join([namespace, *rest[0::2]])

    @property
    def scope(self) -> str:
        """What a resource lies in or, for an extension such as a role assignment, on."""
        return self.text.rpartition("/providers/")[0]

    @property
    def parent(self) -> ResourceId:
        """The resource that it is a part of, else its scope."""
        head, _, tail = self.text.rpartition("/providers/")
        if len(tail.split("/")) > 3:
            return ResourceId(self.text.rsplit("/", 2)[0])
        return ResourceId(head or self.text.rsplit("/", 2)[0])

    @property
    def group(self) -> str:
        """The id of the resource group, or nothing."""
        words = self.text.split("/")
        return (
            "/".join(words[:5]) if len(words) > 4 and words[3].lower() == "resourcegroups" else ""
        )

    def child(self, kind: str, name: str) -> ResourceId:
        """Return the id of a part: `workspace.child("computes", "cpu")`."""
        return ResourceId(f"{self.text}/{kind}/{name}")


def routing_path(path: str) -> str:
    """Make small what is not somebody's name, so that routes can be compared with case."""
    return "/".join(_spelt(path, {}, str.lower))


def canonical(path: str, words: Mapping[str, str]) -> str:
    """Spell an id's types as Azure does; `words` holds them by their small form."""
    known = {**words, **_WORDS}
    return "/".join(_spelt(path, known, str))


def _spelt(path: str, words: Mapping[str, str], other: Callable[[str], str]) -> list[str]:
    segments = path.strip("/").split("/")
    spelt = [""]
    for word, *name in (segments[index : index + 2] for index in range(0, len(segments), 2)):
        spelt.append(words.get(word.lower(), other(word)))
        if word.lower() == "providers":  # what follows is a namespace
            name = [words.get(one.lower(), other(one)) for one in name]
        spelt += name
    return spelt
