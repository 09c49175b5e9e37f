"""Tar shards of sounds, as WebDataset has them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from aasp_features.audio import AUDIO_SUFFIXES, AV_SUFFIXES, AudioError
from aasp_features.sounds.sound import Sound

SOUND_SUFFIXES = AUDIO_SUFFIXES | AV_SUFFIXES
SHARD_SUFFIXES = frozenset({".tar"})


def shard_members(path: Path) -> list[Sound]:
    """The sounds in a shard, in its order; each can be read on its own, as its place in the shard is known.

    Raises:
        AudioError: not a shard that can be read.
    """
    try:
        with tarfile.open(path) as shard:
            return [
                Sound(path, member=member.name, offset=member.offset_data, size=member.size)
                for member in shard
                if member.isfile() and Path(member.name).suffix.lower() in SOUND_SUFFIXES
            ]
    except (tarfile.TarError, OSError) as error:
        raise AudioError(f"not a tar shard that can be read ({str(error).splitlines()[0]}).") from error
