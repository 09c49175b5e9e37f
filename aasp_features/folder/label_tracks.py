"""Events -> a file of labels for each sound, as Audacity imports them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from aasp_features.folder.table import plain_text

LONGEST_NAME, LONGEST_PLACE = 251, 1000  # bytes, without the ending ".txt"
TOLD = 60  # bytes of a name that are kept


def label_places(names: Iterable[str]) -> dict[str, str]:
    """Where the labels of each sound go, below one folder.

    Sounds keep the folders that not all of them share: ``/data/a/x.wav`` and ``/data/b/x.wav`` become ``a/x.wav.txt``
    and ``b/x.wav.txt``.

    A place with a name that file systems may refuse is replaced by a short one: a checksum, and the name's end.

    Args:
        names: of the sounds, as tables have them; those inside shards, too.
    """
    whole = {name: os.path.abspath(name) for name in names}
    shared = os.path.commonpath([os.path.dirname(path) for path in whole.values()]) if whole else ""
    return {name: _short(plain_text(os.path.relpath(path, shared))) + ".txt" for name, path in whole.items()}


def _short(place: str) -> str:
    parts = place.split(os.sep)
    if len(place.encode()) <= LONGEST_PLACE and all(len(part.encode()) <= LONGEST_NAME for part in parts):
        return place
    return f"{hashlib.sha256(place.encode()).hexdigest()[:16]}-{parts[-1].encode()[-TOLD:].decode(errors='ignore')}"
