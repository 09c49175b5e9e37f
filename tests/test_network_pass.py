"""A batch of windows through the network, against each window alone."""

import numpy as np
import pytest
import torch
from helpers import noise

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.inputs import read_inputs
from aasp_features.model.pooling import pool_frames
from aasp_features.network_pass import encode_batch, encode_clips, stack_log_mels
from aasp_features.vectors import VectorError
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


def test_a_network_that_overflows_is_an_error_that_names_the_clip() -> None:
    """All weights are finite; what they give of sound is not."""
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    with torch.no_grad():
        for weight in encoder.network.blocks.parameters():
            weight.fill_(1e30)
    sounds = [noise(9000), noise(200_000)]
    calls = [lambda: encoder.embed(sounds), lambda: encoder.embed_frames(sounds), lambda: encoder.encode(sounds)]
    for call in calls:
        with pytest.raises(VectorError, match=r"clip [01]: the network answers with NaN"):
            call()
    stream = encoder.stream()
    with pytest.raises(VectorError, match="the stream: the network answers"):
        stream.push(noise(200_000))


def test_all_windows_of_clips(small_encoder: AaSPEncoder) -> None:
    """As one clip after the other gives them, each under its number and offset."""
    sounds = [noise(300_000), noise(900), noise(50_000)]
    options, offsets = small_encoder.options(window=20, context=4), (0, 8)
    clips = read_inputs(sounds).clips
    found: dict = {}
    for key, columns in encode_clips(small_encoder.log_mel, small_encoder.network, clips, options, offsets):
        found.setdefault(key, []).append(columns.vectors)
    for number, sound in enumerate(sounds):
        for offset in offsets:
            if number == 1 and offset:  # it has 4 frames
                assert (number, offset) not in found
                continue
            alone = small_encoder.embed_frames(sound[160 * offset :], window=20, context=4)
            np.testing.assert_allclose(np.concatenate(found[number, offset]), alone.embeddings, atol=1e-5)
