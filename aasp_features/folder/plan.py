"""Plan of a run, fixed before it starts: which sounds, in which batches, with which settings.

The list of sounds and their sizes alone decide the batches, and a vector's last bits depend on its batch alone. A run
that was killed and continues therefore writes the bytes of a run that was not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.folder.options import RunSettings
from aasp_features.sounds.sound import Sound

BATCH_SOUNDS = 256
BATCH_BYTES = 64 * 2**20  # of files: six minutes of CD audio, or an hour of MP3
PART_BYTES = 32_000  # for each second of a part of a file, whose own size says little


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        sounds: in the order of the rows.
        stamps: (sounds, 3) size and times of change of each when the plan was made; see ``Sound.stamp``.
        batches: ranges of ``sounds``; each is done on one device and committed at once.
        settings: everything else that decides the bytes written.
        digests: sha256 of the sounds' names, of the requested parts, and of the stamps.
    """

    sounds: Sequence[Sound]
    stamps: NDArray[np.int64]
    batches: list[range]
    settings: RunSettings
    digests: dict[str, str]

    def left(self, done: int) -> list[range]:
        """Return the batches after the first ``done`` sounds."""
        return [range(max(done, batch.start), batch.stop) for batch in self.batches if batch.stop > done]

    def identity(self) -> dict[str, Any]:
        """Return the plain values that make it this run: number of sounds, digests, settings."""
        return {"sounds": len(self.sounds), **self.digests, "settings": self.settings.to_dict()}

    def work(self) -> dict[str, Any]:
        """Return the part of ``identity`` that decides the rows, together with the contents of the sounds."""
        return {name: value for name, value in self.identity().items() if name not in ("names_sha256", "stamps_sha256")}

    def named_as(self, other: dict[str, Any]) -> bool:
        """Return whether the sounds have the names of another identity's."""
        return bool(other.get("names_sha256") == self.digests["names_sha256"])

    def looks_like(self, other: dict[str, Any]) -> bool:
        """Return whether the stamps are those of another identity; if not, the sounds' contents decide."""
        return bool(other.get("stamps_sha256") == self.digests["stamps_sha256"])

    def differs_from(self, other: dict[str, Any]) -> str:
        """Return in words how ``other``, an ``identity``, is other work; empty if it is the same."""
        mine, theirs = self.settings.to_dict(), other.get("settings", {})
        changes = [
            f"{name} was {theirs.get(name)}, now {mine.get(name)}"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
        if other.get("sounds") != len(self.sounds):
            changes.append(f"the sounds are others ({other.get('sounds')} sounds then, {len(self.sounds)} now)")
        elif other.get("parts_sha256") != self.digests["parts_sha256"]:
            changes.append("other parts of the sounds are asked for")
        return "; ".join(changes)


def make_plan(sounds: Sequence[Sound], settings: RunSettings) -> Plan:
    """Divide the sounds into batches of neighbours: at most 256 sounds and 64 MiB of files, or one longer file."""
    digests = {name: hashlib.sha256() for name in ("names_sha256", "parts_sha256", "stamps_sha256")}
    batches, first, size = list[range](), 0, 0.0
    stamps = np.zeros((len(sounds), 3), np.int64)
    for index, sound in enumerate(sounds):
        stamps[index] = stamp = sound.stamp()
        for digest, values in zip(digests.values(), (sound.name, (sound.start, sound.end), stamp), strict=True):
            digest.update(json.dumps(values).encode() + b"\n")
        own = stamp[0] if sound.end is None else min(stamp[0], PART_BYTES * (sound.end - (sound.start or 0)))
        if index > first and (index - first >= BATCH_SOUNDS or size + own > BATCH_BYTES):
            batches.append(range(first, index))
            first, size = index, 0.0
        size += own
    if first < len(sounds):
        batches.append(range(first, len(sounds)))
    return Plan(sounds, stamps, batches, settings, {name: digest.hexdigest() for name, digest in digests.items()})


def contents_digest(hashes: Iterable[str]) -> str:
    """Return the sha256 over the contents' own, in order."""
    digest = hashlib.sha256()
    for each in hashes:
        digest.update(each.encode() + b"\n")
    return digest.hexdigest()
