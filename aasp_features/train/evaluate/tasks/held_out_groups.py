"""Reproducible splits, by a hash, of public tasks without a public official list."""

from __future__ import annotations

import hashlib

from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION

TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.15  # the rest tests


def part_of_group(group: str) -> str:
    """Return the part of a group's clips: 70 % of the groups train, 15 % validate, 15 % test.

    The part depends on the group's name alone: missing clips change no others, and no group is in two parts.
    """
    position = int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
    if position < TRAIN_SHARE:
        return TRAIN
    return VALIDATION if position < TRAIN_SHARE + VALIDATION_SHARE else TEST
