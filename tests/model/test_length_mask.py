"""Which places of a padded batch are real."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.model.length_mask import length_mask


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 12))
def test_true_before_each_length(lengths: list[int], size: int) -> None:
    expected = [[place < length for place in range(size)] for length in lengths]
    assert length_mask(torch.tensor(lengths), size).tolist() == expected
