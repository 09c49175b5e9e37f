"""Vectors are those of ``embed``, scores those of the classifier that is saved."""

from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import tiny_encoder
from helpers import noise, relative_difference
from soundfile import write
from torch import nn

from aasp_features.classifier import AaSPClassifier
from aasp_features.train.evaluate.finetune.clips import LogMels
from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.train.evaluate.finetune.scoring import classifier_of, clip_vectors


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Shorter and longer than a window of 1.28 s."""
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, seconds in zip(paths, (0.4, 1.28, 3.3), strict=True):
        write(path, noise(int(16000 * seconds)), 16000)
    return paths


@pytest.mark.parametrize("pooling", ["mean", "frequency+std", "mean+cls"])
def test_vectors_are_those_of_embed(files: list[Path], pooling: str) -> None:
    encoder = tiny_encoder(pooling=pooling, last_layers=2)
    found = clip_vectors(encoder.network, LogMels(files, encoder.log_mel, 1.0).each([0, 1, 2]), [""] * 3)
    assert relative_difference(found.numpy(), encoder.embed(files)) < 1e-5


def test_scores_are_those_of_the_saved_classifier(files: list[Path], tmp_path: Path) -> None:
    encoder = tiny_encoder()
    torch.manual_seed(2)
    model = FineTuned(encoder.network, 0.1 * torch.randn(32), torch.rand(32) + 0.5, nn.Linear(32, 3))
    vectors = clip_vectors(model.network, LogMels(files, encoder.log_mel, 1.0).each([0, 1, 2]), [""] * 3)
    with torch.no_grad():
        logits = model.head((vectors - model.mean) / model.std)
    classifier_of(model, ("a", "b", "c"), False, "aasp-test-1").save_pretrained(tmp_path / "saved")
    saved = AaSPClassifier.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(saved.scores(files), logits.softmax(dim=1).numpy(), atol=1e-5)
    assert saved.encoder.config.name == "aasp-test-1"
    assert saved.predict(files[0])[0].label == "abc"[int(logits[0].argmax())]


def test_a_clip_without_finite_numbers_is_named() -> None:
    network = tiny_encoder().network
    with pytest.raises(ArithmeticError, match=r"second\.wav: the network answers"):
        clip_vectors(network, [torch.zeros(9, 128), torch.full((9, 128), torch.nan)], ["first.wav", "second.wav"])
