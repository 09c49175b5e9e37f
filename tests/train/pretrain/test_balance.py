"""Crops drawn by clusters: small ones more often, each crop's turns as they are due."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.pretrain.balance import cluster_sizes, draw_balanced


@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=200),
    power=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_turns_are_as_they_are_due(sizes: list[int], power: float, seed: int) -> None:
    counted = np.array(sizes)
    places = draw_balanced(counted, power, np.random.default_rng(seed))
    assert len(places) == len(sizes)
    share = counted.astype(float) ** -power
    due = share / share.sum() * len(sizes)
    turns = np.bincount(places, minlength=len(sizes))
    assert (np.abs(turns - due) < 1 + 1e-6).all()


def test_without_power_every_crop_comes_once() -> None:
    sizes = np.array([3, 3, 3, 1, 2, 2])
    assert sorted(draw_balanced(sizes, 0.0, np.random.default_rng(1))) == list(range(6))


def test_with_power_one_clusters_come_equally_often() -> None:
    sizes = np.repeat([900, 90, 10], [900, 90, 10])
    places = draw_balanced(sizes, 1.0, np.random.default_rng(0))
    assert np.bincount(np.searchsorted([900, 990], places, side="right")) == pytest.approx([333, 333, 333], abs=1)


def test_clusters_are_found() -> None:
    rng = np.random.default_rng(0)
    centres, own = 100 * rng.normal(size=(4, 8)), np.repeat(range(4), [64, 32, 24, 8])
    targets = (centres[own] + rng.normal(size=(128, 8))).astype(np.float32)
    order = rng.permutation(128)
    assert np.array_equal(cluster_sizes(targets[order]), np.bincount(own)[own][order])
    assert np.array_equal(cluster_sizes(targets), cluster_sizes(targets))


def test_a_few_crops_are_one_cluster() -> None:
    assert (cluster_sizes(np.zeros((5, 3), np.float32)) == 5).all()
