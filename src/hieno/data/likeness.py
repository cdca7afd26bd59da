"""How alike two chats are: MinHash signatures, and the pairs among many that are near each other.

Broder, "On the resemblance and containment of documents" (1997): the share of equal minima under
random permutations estimates the Jaccard similarity of two sets. The sets here are the word
trigrams of a chat without its system message, which many chats share.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Signatures = NDArray[np.uint32]

PERMUTATIONS = 128
RECALL = 0.995  # of the pairs at the threshold that the bands must bring together
_NEIGHBOURS = 8  # pairs looked at beside the first one in a bucket that holds many
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_WORD = re.compile(r"\w+")


def signature(messages: list[dict[str, Any]]) -> Signatures:
    """Return the minima of a chat's word trigrams under 128 permutations (uint32)."""
    import numpy as np

    words: list[int] = []
    for message in messages:
        if message["role"] != "system":
            words += map(zlib.crc32, _words(message["content"]))
    hashes = np.array(words, dtype=np.uint64)
    first, second = (np.uint64(number) for number in _MIX)
    if len(hashes) >= 3:
        grams = (hashes[:-2] * first + hashes[1:-1]) * second + hashes[2:]
    else:  # so few words are one set's only member
        joined = zlib.crc32(np.array([len(hashes), *hashes.tolist()], dtype=np.uint64).tobytes())
        grams = np.array([joined], dtype=np.uint64)
    grams = (grams ^ (grams >> np.uint64(29))) * first
    grams32 = (grams >> np.uint64(32)).astype(np.uint32)
    factor, term = _permutations()
    minima: Signatures = np.full(PERMUTATIONS, 0xFFFFFFFF, dtype=np.uint32)
    for start in range(0, len(grams32), 4096):  # a whole book at once would need much memory
        piece = factor * grams32[start : start + 4096] + term
        np.minimum(minima, piece.min(axis=1), out=minima)
    return minima


def near_pairs(signatures: Signatures, threshold: float) -> NDArray[np.int64]:
    """Return the pairs (a < b) of rows whose likeness is at least `threshold`; shape (n, 2).

    Rows are compared where one of their bands is equal. In a bucket of many rows each is compared
    with the first one and the next few, which is enough to find whom it belongs to.
    """
    import numpy as np

    found = [np.empty((0, 2), dtype=np.int64)]
    for keys in _bands(signatures, threshold):
        order = np.argsort(keys, kind="stable")
        for pairs in _candidates(keys[order], order):
            found.extend(_verified(signatures, pairs, threshold))
    return np.unique(np.concatenate(found), axis=0)


def band_rows(threshold: float) -> int:
    """Return how many minima a band holds: as many as still bring near pairs together."""
    for rows in range(32, 1, -1):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= RECALL:
            return rows
    return 1


def _words(text: str) -> list[bytes]:
    # ASCII text is split without a regular expression, which is several times as fast
    if text.isascii():
        return text.lower().translate(_PLAIN).encode("ascii").split()
    return [word.encode("utf-8") for word in _WORD.findall(text.casefold())]


_PLAIN = {code: " " for code in range(128) if not _WORD.match(chr(code))}


def _permutations() -> tuple[Signatures, Signatures]:
    global _made
    if _made is None:
        import numpy as np

        random = np.random.Generator(np.random.PCG64(0))
        factor = random.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)
        term = random.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
        _made = factor[:, None], term[:, None]
    return _made


_made: tuple[Signatures, Signatures] | None = None


def _bands(signatures: Signatures, threshold: float) -> Iterator[NDArray[np.uint64]]:
    import numpy as np

    rows = band_rows(threshold)
    first, second = (np.uint64(number) for number in _MIX)
    for start in range(0, PERMUTATIONS - rows + 1, rows):
        keys = np.zeros(len(signatures), dtype=np.uint64)
        for column in range(start, start + rows):
            keys = (keys ^ signatures[:, column].astype(np.uint64)) * first
            keys ^= keys >> np.uint64(31)
        yield keys * second


def _candidates(keys: NDArray[np.uint64], order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    import numpy as np

    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))[: len(keys)]
    if len(starts) == len(keys):
        return
    bucket_start = np.repeat(starts, np.diff(np.append(starts, len(keys))))
    places = np.arange(len(keys))
    beyond = places - bucket_start
    far = places[beyond > _NEIGHBOURS]
    yield np.stack([order[bucket_start[far]], order[far]], axis=1)
    for step in range(1, _NEIGHBOURS + 1):
        later = places[beyond >= step]
        if not len(later):
            return
        yield np.stack([order[later - step], order[later]], axis=1)


def _verified(
    signatures: Signatures, pairs: NDArray[np.int64], threshold: float
) -> Iterator[NDArray[np.int64]]:
    import numpy as np

    for start in range(0, len(pairs), 8192):
        piece = pairs[start : start + 8192]
        alike = (signatures[piece[:, 0]] == signatures[piece[:, 1]]).mean(axis=1)
        near = piece[alike >= threshold]
        if len(near):
            yield np.sort(near, axis=1)
