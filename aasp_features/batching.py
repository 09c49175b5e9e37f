"""Windows of many clips -> batches of equal length.

A batch holds windows of one number of columns, so nothing in it is padded and no vector can depend on its batch mates.
Batches are measured in columns: short windows go through the network in larger numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from aasp_features.windows import CutWindow, Items

Key = TypeVar("Key")
BATCHES_HELD = 4  # batches' worth of windows that may wait for their length's batch to fill, or
COLUMNS_HELD = 8192  # so many columns (64 MB of log-mel), whichever is more


def equal_length_batches(
    windows: Iterable[tuple[Key, CutWindow[Items]]], columns: int
) -> Iterator[list[tuple[Key, CutWindow[Items]]]]:
    """Group windows by length, as they come; a clip's windows stay in order, as all but a lone one are as long.

    Args:
        windows: each with a key that says where it belongs.
        columns: of a batch, at most, unless one window has more.
    """
    waiting: dict[int, list[tuple[Key, CutWindow[Items]]]] = {}
    held = 0
    for key, window in windows:
        group = waiting.setdefault(window.columns, [])
        group.append((key, window))
        held += window.columns
        if (len(group) + 1) * window.columns > columns:
            ready = window.columns
        elif held >= max(COLUMNS_HELD, BATCHES_HELD * columns):
            ready = max(waiting, key=lambda length: length * len(waiting[length]))
        else:
            continue
        batch = waiting.pop(ready)
        held -= ready * len(batch)
        yield batch
    yield from waiting.values()
