"""Blocks of samples -> windows of log-mel: those of the whole, however it is cut."""

import numpy as np
import pytest
import torch
from helpers import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPEncoder
from aasp_features.log_mel_windows import LogMelStream, log_mel_windows, to_device
from aasp_features.windows import count_columns, plan_windows


@settings(deadline=None, max_examples=30)
@given(
    samples=st.integers(400, 60_000),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    offsets=st.sampled_from([(0,), (0, 8), (0, 4, 8, 12)]),
)
def test_windows_are_cut_from_the_whole(
    small_encoder: AaSPEncoder, samples: int, cuts: list[float], offsets: tuple[int, ...]
) -> None:
    sound, front_end = noise(samples), small_encoder.log_mel
    blocks = np.split(sound, sorted(int(cut * samples) for cut in cuts))
    whole = front_end(torch.from_numpy(sound))
    given_windows = list(log_mel_windows(blocks, front_end, 10, 2, offsets))
    for offset in offsets:
        own = [window for first, window in given_windows if first == offset]
        left = whole[offset:]
        assert [window.plan for window in own] == (plan_windows(count_columns(len(left)), 10, 2) if len(left) else [])
        for window in own:
            expected = left[16 * window.plan.start : 16 * window.plan.stop]
            torch.testing.assert_close(window.items, expected, atol=1e-5, rtol=1e-5)


def test_blocks_may_be_tensors_read_only_or_reversed(small_encoder: AaSPEncoder) -> None:
    sound = noise(3000)
    frozen = sound.copy()
    frozen.flags.writeable = False
    expected = LogMelStream(small_encoder.log_mel).push(sound)
    for block in (torch.from_numpy(sound), frozen, sound[::-1].copy()[::-1]):
        torch.testing.assert_close(LogMelStream(small_encoder.log_mel).push(block), expected, atol=0, rtol=0)
    assert to_device(frozen, torch.device("cpu")).numpy().flags.writeable


def test_a_sound_without_samples_gives_no_window(small_encoder: AaSPEncoder) -> None:
    assert list(log_mel_windows([], small_encoder.log_mel, 10, 2)) == []
    with pytest.warns(UserWarning, match="1 samples at 16 kHz is shorter than one 25 ms frame"):
        assert len(list(log_mel_windows([np.ones(1, np.float32)], small_encoder.log_mel, 10, 2))) == 1
