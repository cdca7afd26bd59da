"""Base models: presets, hub models and local folders, made alike and kept in the user's cache."""

from hieno.models.cache import Listed, find, find_digest, listing, remove
from hieno.models.presets import PRESETS, Preset
from hieno.models.pull import pull

__all__ = ["PRESETS", "Listed", "Preset", "find", "find_digest", "listing", "pull", "remove"]
