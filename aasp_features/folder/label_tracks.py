"""Events -> a file of labels for each sound, as Audacity imports them."""

from __future__ import annotations

import os
from collections.abc import Iterable

from aasp_features.folder.table import plain_text


def label_places(names: Iterable[str]) -> dict[str, str]:
    """Where the labels of each sound go, below one folder.

    Sounds keep the folders that not all of them share: ``/data/a/x.wav`` and ``/data/b/x.wav`` become ``a/x.wav.txt``
    and ``b/x.wav.txt``.

    Args:
        names: of the sounds, as tables have them; those inside shards, too.
    """
    whole = {name: os.path.abspath(name) for name in names}
    shared = os.path.commonpath([os.path.dirname(path) for path in whole.values()]) if whole else ""
    return {name: plain_text(os.path.relpath(path, shared)) + ".txt" for name, path in whole.items()}
