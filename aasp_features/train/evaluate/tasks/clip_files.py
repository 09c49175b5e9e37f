"""Clips on disk, whatever format they were converted to: a list may say ``1.wav`` where ``1.flac`` lies."""

from __future__ import annotations

import os
from pathlib import Path

from aasp_features.audio.reading import AUDIO_SUFFIXES

FIRST = (".wav", ".flac")  # of a clip that lies there in several formats


class ClipFiles:
    """Looks clips up; each folder is listed once, since lists name millions of clips."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[str]]] = {}

    def find(self, listed: Path) -> Path:
        """The file itself, or else one of its name with another known ending; if there is none, ``listed``."""
        names = self._names(listed.parent).get(listed.stem, [])
        return listed if listed.name in names or not names else listed.parent / names[0]

    def each(self, folder: Path) -> list[Path]:
        """One file for every clip that lies in a folder, sorted by name."""
        return [folder / names[0] for _, names in sorted(self._names(folder).items())]

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Names of files without their endings -> the files, those first that are to be preferred."""
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
