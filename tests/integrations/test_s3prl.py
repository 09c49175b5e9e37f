"""s3prl's interface: every block's states, for lists of waveforms of any length."""

import numpy as np
import pytest
import torch

from aasp_features import AaSPEncoder, InputError, VectorError
from aasp_features.integrations.s3prl import UpstreamExpert


def noise(samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1)


@pytest.fixture(scope="module")
def upstream(checkpoint: object) -> UpstreamExpert:
    return UpstreamExpert(str(checkpoint))


def test_states_of_a_batch_equal_those_alone(upstream: UpstreamExpert) -> None:
    wavs = [noise(samples) for samples in (800, 16000, 16000 * 13)]
    result = upstream(wavs)
    assert len(result["hidden_states"]) == upstream.encoder.config.depth
    assert result["last_hidden_state"] is result["hidden_states"][-1]
    for index, wav in enumerate(wavs):
        alone = upstream([wav])
        length = int(result["lengths"][index])
        assert abs(length - len(wav) / upstream.get_downsample_rates("hidden_states")) <= 1
        for together, own in zip(result["hidden_states"], alone["hidden_states"], strict=True):
            torch.testing.assert_close(together[index, :length], own[0], atol=1e-5, rtol=1e-5)
            assert (together[index, length:] == 0).all()


def test_the_last_state_is_embed_frames(upstream: UpstreamExpert, checkpoint: object) -> None:
    wav = noise(16000 * 12)
    expected = AaSPEncoder.from_pretrained(str(checkpoint)).embed_frames(wav, pooling="mean", last_layers=1).embeddings
    torch.testing.assert_close(upstream([wav])["last_hidden_state"][0], expected, atol=1e-5, rtol=1e-5)


def test_integers_keep_their_scale_and_what_is_no_sound_is_a_sentence(upstream: UpstreamExpert) -> None:
    wav = (noise(16000) * 32768).round().to(torch.int16)
    scaled = upstream([wav.float() / 32768])["last_hidden_state"]
    torch.testing.assert_close(upstream([wav])["last_hidden_state"], scaled)
    with pytest.raises(InputError, match="clip 1: whole numbers of no stated range"):
        upstream([noise(900), wav.long()])
    with pytest.raises(InputError, match="clip 0: holds NaN"):
        upstream([torch.full((900,), torch.nan)])


def test_an_answer_that_is_not_finite_is_an_error(checkpoint: object) -> None:
    upstream = UpstreamExpert(str(checkpoint))
    with torch.no_grad():
        upstream.encoder.network.norm.weight.fill_(torch.inf)
    with pytest.raises(VectorError, match="clip 0: the network answers with NaN"):
        upstream([noise(900)])
