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
Batch = list[int]  # indices of sounds; done on one device and committed at once


@dataclass(frozen=True)
class Plan:
    """A run.

    Attributes:
        sounds: in the order of the rows.
        stamps: (sounds, 3) size and times of change of each when the plan was made; see ``Sound.stamp``.
        settings: everything else that decides the bytes written.
        digests: sha256 of the sounds' names, of the requested parts, and of the stamps.
    """

    sounds: Sequence[Sound]
    stamps: NDArray[np.int64]
    settings: RunSettings
    digests: dict[str, str]

    def batches(self, indices: Iterable[int] | None = None) -> list[Batch]:
        """Divide the sounds, or some of them, into batches: at most 256 sounds and 64 MiB of files, or one longer."""
        batches: list[Batch] = []
        size = 0.0
        for index in range(len(self.sounds)) if indices is None else indices:
            sound, own = self.sounds[index], float(self.stamps[index, 0])
            if sound.end is not None:
                own = min(own, PART_BYTES * (sound.end - (sound.start or 0)))
            if not batches or len(batches[-1]) >= BATCH_SOUNDS or size + own > BATCH_BYTES:
                batches.append([])
                size = 0.0
            batches[-1].append(index)
            size += own
        return batches

    def identity(self) -> dict[str, Any]:
        """Return the plain values that make it this run: number of sounds, digests, settings."""
        return {"sounds": len(self.sounds), **self.digests, "settings": self.settings.to_dict()}

    def is_of(self, other: dict[str, Any], *digests: str) -> bool:
        """Return whether these digests are those of another identity."""
        return all(other.get(name) == self.digests[name] for name in digests)

    def changed_settings(self, other: dict[str, Any]) -> str:
        """Return in words how the settings of ``other``, an ``identity``, differ; empty if they do not."""
        mine, theirs = self.settings.to_dict(), other.get("settings", {})
        return "; ".join(
            f"{name} was {theirs.get(name)}, now {mine.get(name)}"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        )

    def differs_from(self, other: dict[str, Any]) -> str:
        """Return in words how ``other``, an ``identity``, is other work; empty if it is the same."""
        changes = [self.changed_settings(other)] if self.changed_settings(other) else []
        if other.get("sounds") != len(self.sounds):
            changes.append(f"the sounds are others ({other.get('sounds')} sounds then, {len(self.sounds)} now)")
        elif not self.is_of(other, "parts_sha256"):
            changes.append("other parts of the sounds are asked for")
        return "; ".join(changes)


def make_plan(sounds: Sequence[Sound], settings: RunSettings) -> Plan:
    """Look at the sizes and times of the sounds."""
    stamps = np.array([sound.stamp() for sound in sounds], "<i8").reshape(-1, 3)
    names, parts = hashlib.sha256(), hashlib.sha256()
    for sound in sounds:
        names.update(json.dumps(sound.name).encode() + b"\n")
        parts.update(f"{sound.start} {sound.end}\n".encode())
    digests = {"names_sha256": names, "parts_sha256": parts, "stamps_sha256": hashlib.sha256(stamps.tobytes())}
    return Plan(sounds, stamps, settings, {name: digest.hexdigest() for name, digest in digests.items()})


def contents_digest(hashes: Iterable[str]) -> str:
    """Return the sha256 over the contents' own, in order."""
    digest = hashlib.sha256()
    for each in hashes:
        digest.update(each.encode() + b"\n")
    return digest.hexdigest()
