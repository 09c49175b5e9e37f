"""What mteb asks of a model, and what its reviewers miss in others: alone, a clip has the vector it has in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from aasp_features import AaSPEncoder

if TYPE_CHECKING:
    from aasp_features.integrations.mteb import AaSPMteb


@pytest.fixture(scope="module")
def model(checkpoint: object) -> AaSPMteb:
    """Made here, because each process that collects tests would import mteb, which takes seconds."""
    pytest.importorskip("mteb")
    from aasp_features.integrations.mteb import AaSPMteb

    return AaSPMteb(str(checkpoint))


def row(seconds: float, rate: int = 16000, channels: int = 0) -> dict[str, Any]:
    """As ``datasets`` gives it; channels first where there are several."""
    shape = (channels, int(seconds * rate)) if channels else (int(seconds * rate),)
    array = np.random.default_rng(int(1000 * seconds)).normal(size=shape) * 0.1
    return {"audio": {"array": array, "sampling_rate": rate}, "label": 0}


def encode(model: AaSPMteb, rows: list[dict[str, Any]], batch_size: int) -> np.ndarray:
    loader: Any = DataLoader(
        rows, batch_size=batch_size, collate_fn=lambda batch: pytest.fail("mteb's collate was used")
    )
    return model.encode(loader, task_metadata=None, hf_split="test", hf_subset="default", batch_size=batch_size)


def test_it_is_a_model(model: AaSPMteb) -> None:
    from mteb.models import EncoderProtocol

    assert isinstance(model, EncoderProtocol)
    meta = model.mteb_model_meta
    assert meta.modalities == ["audio"]
    assert meta.embed_dim == model.model.embedding_dim
    assert meta.n_parameters == sum(weight.numel() for weight in model.model.parameters())
    organisation, name = meta.name.split("/")
    assert (organisation, name) == ("aasp-features", model.model.config.name)
    assert model.model.sha256.startswith(meta.revision)


def test_it_is_loaded_again(model: AaSPMteb) -> None:
    again = model.mteb_model_meta.load_model()
    sounds = [row(1.0)]
    np.testing.assert_array_equal(encode(again, sounds, 1), encode(model, sounds, 1))


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_rows_in_order_each_as_alone(model: AaSPMteb, batch_size: int) -> None:
    rows = [row(0.3), row(5.0), row(1.0, 44100), row(2.0, 48000, channels=2), row(12.0), row(0.3, 8000, channels=1)]
    vectors = encode(model, rows, batch_size)
    assert vectors.dtype == np.float32
    for vector, one in zip(vectors, rows, strict=True):
        array, rate = one["audio"]["array"], one["audio"]["sampling_rate"]
        channels = 0 if array.ndim == 2 else None
        np.testing.assert_allclose(vector, model.model.embed(array, rate, channel_axis=channels), atol=1e-5, rtol=1e-5)


def test_nothing(model: AaSPMteb) -> None:
    assert encode(model, [], 4).shape == (0, model.model.embedding_dim)


def test_similarity_is_cosine(model: AaSPMteb) -> None:
    vectors = encode(model, [row(0.5), row(1.0), row(1.5)], 2)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model.similarity(vectors, vectors)), unit @ unit.T, atol=1e-5)


def test_default_is_the_bundled_checkpoint(model: AaSPMteb) -> None:
    bundled = AaSPEncoder.from_pretrained()
    assert type(model)().mteb_model_meta.name == f"aasp-features/{bundled.config.name}"
