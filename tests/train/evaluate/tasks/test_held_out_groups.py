"""Splits by a hash."""

import hashlib
from collections import Counter

import pytest

from aasp_features.train.evaluate.tasks.held_out_groups import part_of_group


def test_shares() -> None:
    counts = Counter(part_of_group(f"speaker {number}") for number in range(10_000))
    shares = [counts[part] / 10_000 for part in ("train", "validation", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.02)


@pytest.mark.parametrize("name", ["Aaron", "anonymous-20110402-ujy", "é", ""])
def test_the_split_never_changes(name: str) -> None:
    """Else numbers of it could not be compared with older ones."""
    share = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16
    assert part_of_group(name) == ("train" if share < 0.7 else "validation" if share < 0.85 else "test")
