"""What a run will do, fixed before it starts: which sounds, in which batches, with which settings.

Batches are decided by the list of sounds alone, their parts by the sounds' lengths, and a vector's last bits depend
only on its part; so a run that was killed and goes on gives the very bytes of a run that was not.
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
BATCH_BYTES = 64 * 2**20  # compressed; so that several devices share long files, too


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        sounds: in the order of the rows.
        stamps: (sounds, 3) size and times of change of each, when the plan was made; see ``Sound.stamp``.
        batches: ranges of ``sounds``; each is done by one device.
        settings: everything else that decides the bytes written.
        digests: sha256 of the sounds' names, of the parts that are asked for, and of the stamps; see ``identity``.
    """

    sounds: Sequence[Sound]
    stamps: NDArray[np.int64]
    batches: list[range]
    settings: RunSettings
    digests: dict[str, str]

    def left(self, place: int) -> list[range]:
        """The batches from a sound on, which may lie inside the first of them."""
        return [range(max(place, batch.start), batch.stop) for batch in self.batches if batch.stop > place]

    def identity(self) -> dict[str, Any]:
        """What makes it this run: number of sounds, digests, settings; plain values."""
        return {"sounds": len(self.sounds), **self.digests, "settings": self.settings.to_dict()}

    def work(self) -> dict[str, Any]:
        """What of ``identity`` decides the rows, beside the contents of the sounds."""
        return {name: value for name, value in self.identity().items() if name not in ("names_sha256", "stamps_sha256")}

    def named_as(self, other: dict[str, Any]) -> bool:
        """Are the sounds called as in another identity?"""
        return bool(other.get("names_sha256") == self.digests["names_sha256"])

    def looks_like(self, other: dict[str, Any]) -> bool:
        """Do the stamps say that the sounds are those of another identity? If not, their contents decide."""
        return bool(other.get("stamps_sha256") == self.digests["stamps_sha256"])

    def differs_from(self, other: dict[str, Any]) -> str:
        """How ``other``, an ``identity``, is other work, in words; empty if it is the same."""
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
    """Divide the sounds into batches: neighbours, up to 256 of them or 64 MiB of files, at least one."""
    digests = {name: hashlib.sha256() for name in ("names_sha256", "parts_sha256", "stamps_sha256")}
    batches, first, size = [], 0, 0
    stamps = np.zeros((len(sounds), 3), np.int64)
    for place, sound in enumerate(sounds):
        stamps[place] = stamp = sound.stamp()
        for digest, values in zip(digests.values(), (sound.name, (sound.start, sound.end), stamp), strict=True):
            digest.update(json.dumps(values).encode() + b"\n")
        own = stamp[0]
        if place > first and (place - first >= BATCH_SOUNDS or size + own > BATCH_BYTES):
            batches.append(range(first, place))
            first, size = place, 0
        size += own
    if first < len(sounds):
        batches.append(range(first, len(sounds)))
    return Plan(sounds, stamps, batches, settings, {name: digest.hexdigest() for name, digest in digests.items()})


def contents_digest(hashes: Iterable[str]) -> str:
    """sha256 over the contents' own, in order."""
    digest = hashlib.sha256()
    for each in hashes:
        digest.update(each.encode() + b"\n")
    return digest.hexdigest()
