"""The promises on a CUDA device; left out of the default command."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import cosine, mixed_sounds

from aasp_features import AaSPEncoder, InputError
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import find_sounds

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]


@pytest.fixture(scope="module")
def on_gpu() -> AaSPEncoder:
    return AaSPEncoder.from_pretrained(device="cuda")


def test_as_on_the_cpu(on_gpu: AaSPEncoder) -> None:
    clips = mixed_sounds()
    np.testing.assert_allclose(on_gpu.embed(clips), AaSPEncoder.from_pretrained().embed(clips), atol=1e-3, rtol=1e-3)


def test_alone_equals_in_a_batch_and_twice_equals_once(on_gpu: AaSPEncoder) -> None:
    clips = mixed_sounds()
    together = on_gpu.embed(clips)
    np.testing.assert_array_equal(on_gpu.embed(clips), together)
    for clip, vector in zip(clips, together, strict=True):
        np.testing.assert_allclose(on_gpu.embed(clip), vector, atol=1e-4, rtol=1e-4)


def test_tensors_stay_on_their_device(on_gpu: AaSPEncoder) -> None:
    tensor = torch.from_numpy(mixed_sounds()[1])
    assert on_gpu.embed(tensor.cuda()).is_cuda
    assert not on_gpu.embed(tensor).is_cuda


@pytest.mark.parametrize("rate", [16000, 44100])
def test_tensors_are_resampled_where_they_lie(on_gpu: AaSPEncoder, rate: int) -> None:
    sound = mixed_sounds()[2]
    there = on_gpu.embed(torch.from_numpy(sound).cuda(), rate)
    assert cosine(there.cpu().numpy(), on_gpu.embed(sound, rate)) > 0.999
    scaled = torch.from_numpy((sound * 32767).astype(np.int16)).cuda()
    assert cosine(on_gpu.embed(scaled, rate).cpu().numpy(), there.cpu().numpy()) > 0.999
    with pytest.raises(InputError, match="NaN"):
        on_gpu.embed(torch.full((800,), torch.nan, device="cuda"), rate)


def test_what_lies_above_8_khz_is_told(on_gpu: AaSPEncoder) -> None:
    tone = torch.sin(2 * torch.pi * 12_000 * torch.arange(48_000, device="cuda") / 48_000)
    with pytest.warns(UserWarning, match="100 % of its energy lies above 8 kHz"):
        on_gpu.embed(tone, 48_000)


def test_bfloat16_and_compiled(on_gpu: AaSPEncoder) -> None:
    encoder = AaSPEncoder.from_pretrained(device="cuda", precision="bfloat16")
    encoder.compile()
    clips = mixed_sounds()
    assert cosine(encoder.embed(clips), on_gpu.embed(clips)).min() > 0.999


def test_folder_runs(on_gpu: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    """Two encoders on one card stand for two cards."""
    found = find_sounds([sounds])
    for name, encoders in (("one.npy", [on_gpu]), ("two.npy", [on_gpu, AaSPEncoder.from_pretrained(device="cuda")])):
        embed_sounds(LocalEngine(encoders), found, tmp_path / name)
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy"), np.load(tmp_path / "two.npy"))
