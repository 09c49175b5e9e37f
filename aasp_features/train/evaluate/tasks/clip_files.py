"""Clips on disk in any format: a list may name ``1.wav`` where the file is ``1.flac``."""

from __future__ import annotations

import os
from pathlib import Path

from aasp_features.audio.reading import AUDIO_SUFFIXES

FIRST = (".wav", ".flac")  # preferred formats


class ClipFiles:
    """Finder of clips, which lists each folder only once, as lists may name millions of clips."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def find(self, listed: Path) -> Path:
        """Return the listed file, or else one with the same stem and another known suffix; else ``listed``."""
        names = self._names(listed.parent).get(listed.stem, [])
        return listed if listed.name in names or not names else listed.parent / names[0]

    def each(self, folder: Path) -> list[Path]:
        """Return one file for every clip in a folder, sorted by name."""
        return [folder / names[0] for _, names in sorted(self._names(folder).items())]

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Map stems to file names, preferred formats first."""
        if folder not in self._folders:
            found: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder), key=_preference) if folder.is_dir() else []:
                stem, ending = os.path.splitext(name)
                if ending.lower() in AUDIO_SUFFIXES and not name.startswith("."):
                    found.setdefault(stem, []).append(name)
            self._folders[folder] = found
        return self._folders[folder]


def _preference(name: str) -> tuple[int, str]:
    ending = os.path.splitext(name)[1].lower()
    return FIRST.index(ending) if ending in FIRST else len(FIRST), name
