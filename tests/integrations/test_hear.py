"""The rules that HEAR's validator checks, on the lengths that it uses and others."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.integrations import hear


@pytest.fixture(scope="module")
def model(checkpoint: object) -> hear.HearModel:
    return hear.load_model(str(checkpoint))


def noise(sounds: int, samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(samples).uniform(-1, 1, (sounds, samples)).astype(np.float32))


def test_model(model: hear.HearModel) -> None:
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    assert type(model.scene_embedding_size) is type(model.timestamp_embedding_size) is int
    assert hear.load_model().encoder.config.name != model.encoder.config.name  # the bundled one by default


@settings(deadline=None, max_examples=20)
@given(sounds=st.integers(1, 3), seconds=st.sampled_from([1.07, 1.98, 2.74, 4.0]) | st.floats(0.03, 12))
def test_shapes_and_times(model: hear.HearModel, sounds: int, seconds: float) -> None:
    samples = int(16000 * seconds)
    audio = noise(sounds, samples)
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.shape == (sounds, model.scene_embedding_size)
    vectors, times = hear.get_timestamp_embeddings(audio, model)
    assert vectors.shape == (*times.shape, model.timestamp_embedding_size)
    assert scenes.dtype == vectors.dtype == torch.float32
    duration = 1000 * samples / 16000
    steps = times[0].diff()
    assert (steps - steps.mean()).abs().max() <= 1 if len(steps) else True  # ms
    assert (steps <= 50).all()
    assert 0 <= times[0, 0] <= 40
    assert duration - 40 <= times[0, -1] <= duration
    assert (times == times[0]).all()


def test_batch_equals_alone(model: hear.HearModel) -> None:
    audio = noise(3, 20000)
    vectors, _ = hear.get_timestamp_embeddings(audio, model)
    for row, expected in zip(audio, vectors, strict=True):
        alone, _ = hear.get_timestamp_embeddings(row[None], model)
        torch.testing.assert_close(alone[0], expected, atol=1e-5, rtol=1e-5)


def test_interpolation_against_numpy() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 7):
        at, vectors = np.sort(rng.uniform(0, 1, count)), rng.normal(size=(count, 3))
        times = rng.uniform(-0.5, 1.5, 20)
        expected = np.stack([np.interp(times, at, column) for column in vectors.T], axis=1)
        np.testing.assert_allclose(hear.interpolate(vectors, at, times), expected, atol=1e-6)
