"""What a run will do, fixed before it starts: which sounds, in which batches, with which settings.

Batches are decided by the list of sounds alone, their parts by the sounds' lengths, and a vector's last bits depend
only on its part; so a run that was killed and goes on gives the very bytes of a run that was not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.folder.options import RunSettings
from aasp_features.sounds.sound import Sound

BATCH_SOUNDS = 256
BATCH_BYTES = 64 * 2**20  # compressed; so that several devices share long files, too


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        sounds: in the order of the rows.
        stamps: (sounds, 3) size and times of change of each, when the plan was made; see ``Sound.stamp``.
        batches: ranges of ``sounds``; each is done by one device.
        settings: everything else that decides the bytes written.
        digest: sha256 of the sounds' identities.
    """

    sounds: Sequence[Sound]
    stamps: NDArray[np.int64]
    batches: list[range]
    settings: RunSettings
    digest: str

    def left(self, place: int) -> list[range]:
        """The batches from a sound on, which may lie inside the first of them."""
        return [range(max(place, batch.start), batch.stop) for batch in self.batches if batch.stop > place]

    def identity(self) -> dict[str, Any]:
        """What makes it this run: number of sounds, digest, settings; plain values."""
        return {"sounds": len(self.sounds), "sounds_sha256": self.digest, "settings": self.settings.to_dict()}

    def differs_from(self, other: dict[str, Any]) -> str:
        """How ``other``, an ``identity``, is another run, in words; empty if it is the same."""
        mine, theirs = self.settings.to_dict(), other.get("settings", {})
        changes = [
            f"{name} was {theirs.get(name)}, now {mine.get(name)}"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
        if other.get("sounds_sha256") != self.digest:
            before = other.get("sounds")
            now = (
                f"{before} sounds then, {len(self.sounds)} now" if before != len(self.sounds) else "files were changed"
            )
            changes.append(f"the sounds are others ({now})")
        return "; ".join(changes)


def make_plan(sounds: Sequence[Sound], settings: RunSettings) -> Plan:
    """Divide the sounds into batches: neighbours, up to 256 of them or 64 MiB of files, at least one."""
    digest = hashlib.sha256()
    batches, first, size = [], 0, 0
    stamps = np.zeros((len(sounds), 3), np.int64)
    for place, sound in enumerate(sounds):
        stamps[place] = stamp = sound.stamp()
        digest.update(json.dumps([sound.name, sound.start, sound.end, *stamp]).encode() + b"\n")
        own = stamp[0]
        if place > first and (place - first >= BATCH_SOUNDS or size + own > BATCH_BYTES):
            batches.append(range(first, place))
            first, size = place, 0
        size += own
    if first < len(sounds):
        batches.append(range(first, len(sounds)))
    return Plan(sounds, stamps, batches, settings, digest.hexdigest())
