"""A batch of windows through the network, against each window alone."""

import numpy as np
import torch

from aasp_features import AaSPEncoder
from aasp_features.network_pass import encode_batch, stack_log_mels
from aasp_features.pooling import pool_frames
from aasp_features.windows import CutWindow, Window


def test_what_each_window_emits(small_encoder: AaSPEncoder) -> None:
    """Windows of three columns; the second ends inside its last, and emits its last two."""
    plans = [Window(0, 3, 0, 2), Window(2, 5, 3, 5)]
    log_mels = [torch.randn(48, 128, generator=torch.Generator().manual_seed(0)) for _ in plans]
    log_mels[1] = log_mels[1][:37]
    batch = [("abc"[place], CutWindow(log_mels[place], plan)) for place, plan in enumerate(plans)]
    given = dict(encode_batch(small_encoder.network, batch, small_encoder.options(pooling="mean")))
    assert list(given) == ["a", "b"]
    assert [given[key].frames.tolist() for key in "ab"] == [[16, 16], [16, 5]]
    for key, log_mel, emitted in zip("ab", log_mels, (slice(0, 2), slice(1, 3)), strict=True):
        features = small_encoder.network(log_mel[None])
        np.testing.assert_allclose(given[key].vectors, pool_frames(features, "mean")[0, emitted], atol=1e-5)
        np.testing.assert_allclose(given[key].cls, features.cls[0], atol=1e-5)


def test_stacked_log_mels_end_in_zeros() -> None:
    stacked = stack_log_mels([torch.ones(3, 2), torch.ones(5, 2)], 6)
    assert stacked.sum(dim=(1, 2)).tolist() == [6, 10]
    assert stacked[0, 3:].abs().max() == 0
