"""Types of the embed calls: arrays and tensors, one and many. ``make types`` checks this file too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import assert_type

from aasp_features import AaSPEncoder, FrameEmbeddings, InputError, OptionError
from aasp_features.typing import TensorFrames

Array = NDArray[np.float32]


def test_clip_vectors(small_encoder: AaSPEncoder, sounds: Path) -> None:
    encoder, path = small_encoder, str(sounds / "music" / "bell.flac")
    array: Array = np.ones(800, np.float32)
    tensor, row = torch.from_numpy(array), dict[str, Any](array=array, sampling_rate=16000)
    assert isinstance(assert_type(encoder.embed(path), Array), np.ndarray)
    assert isinstance(assert_type(encoder.embed([Path(path), array], window=20, context=4), Array), np.ndarray)
    assert isinstance(assert_type(encoder.embed((array, 8000), pooling="cls"), Array), np.ndarray)
    assert isinstance(assert_type(encoder.embed({"array": array, "sampling_rate": 8000}), Array), np.ndarray)
    assert isinstance(assert_type(encoder.embed(tensor), Tensor), Tensor)
    assert isinstance(assert_type(encoder.embed([(tensor, 8000)]), Tensor), Tensor)
    assert isinstance(assert_type(encoder.embed([array, tensor]), Tensor | Array), Tensor)
    assert isinstance(assert_type(encoder.embed(row), Any), np.ndarray)
    assert isinstance(assert_type(encoder.encode([path], normalize_embeddings=True), Array), np.ndarray)
    assert isinstance(assert_type(encoder.encode([path], convert_to_tensor=True), Tensor), Tensor)
    assert isinstance(assert_type(encoder.encode([path], convert_to_numpy=False), Tensor | list[Tensor]), list)


def test_frame_vectors(small_encoder: AaSPEncoder) -> None:
    encoder, array = small_encoder, np.ones(800, np.float32)
    tensor = torch.from_numpy(array)
    one = assert_type(encoder.embed_frames((array, 8000), hop=0.04), FrameEmbeddings)
    assert isinstance(assert_type(one.embeddings, Array), np.ndarray)
    assert assert_type(one.times, NDArray[np.float64]).dtype == np.float64
    assert isinstance(assert_type(encoder.embed_frames([array, array]), list[FrameEmbeddings]), list)
    tensors = assert_type(encoder.embed_frames([tensor]), list[TensorFrames])
    assert isinstance(assert_type(tensors[0].times, Tensor), Tensor)
    assert isinstance(assert_type(encoder.embed_frames(tensor), TensorFrames | list[TensorFrames]), FrameEmbeddings)
    assert isinstance(assert_type(encoder.stream().push(array), FrameEmbeddings), FrameEmbeddings)


def test_wrong_calls_are_errors_of_types_too(small_encoder: AaSPEncoder) -> None:
    with pytest.raises(InputError):
        small_encoder.embed(3)  # type: ignore[call-overload]
    with pytest.raises(OptionError):
        small_encoder.embed("a.wav", pooling="max")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        small_encoder.embed_frames("a.wav", hob=0.04)  # type: ignore[call-overload]
