"""Logits, losses, and the linear layer that standardisation folds into."""

import numpy as np
import pytest
import torch
from finetune_helpers import tiny_encoder
from sklearn.metrics import log_loss
from torch import nn

from aasp_features.fine_tuning import draw_paths
from aasp_features.train.evaluate.finetune.augmentation import cut_clips
from aasp_features.train.evaluate.finetune.model import FineTuned, TrainingBatch, divisor, loss_of
from aasp_features.train.pretrain.distillation import keep_columns


@pytest.fixture
def model() -> FineTuned:
    encoder = tiny_encoder()
    torch.manual_seed(1)
    head = nn.Linear(32, 3)
    return FineTuned(encoder.network, torch.randn(32), torch.rand(32) + 0.1, head)


def a_batch(columns: bool = False, paths: bool = False) -> TrainingBatch:
    generator = torch.Generator().manual_seed(0)
    clips = cut_clips([torch.randn(n, 128, generator=generator) for n in (70, 100, 33, 100)], 100, generator)
    kept = keep_columns(clips.column_frames, 0.4, generator) if columns else None
    drawn = draw_paths(2, 4, 0.5, generator) if paths else None
    return TrainingBatch(clips, torch.eye(3)[[0, 1, 2, 0]], kept, drawn)


def test_the_folded_layer_gives_the_same_logits(model: FineTuned) -> None:
    batch = a_batch()
    encoder = tiny_encoder()
    for row, length in enumerate(batch.clips.frame_lengths.tolist()):
        features = encoder.network(batch.clips.log_mel[row : row + 1, :length])
        weight = features.column_frames / features.column_frames.sum()
        vector = (features.tokens.mean(dim=2) * weight[..., None]).sum(dim=1)  # what the pooling `mean` is
        with torch.no_grad():
            torch.testing.assert_close(model.folded()(vector)[0], model(batch)[row], atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in model.folded().parameters())


@pytest.mark.parametrize("dropped", [False, True])
def test_parts_are_parts_of_one_batch(model: FineTuned, dropped: bool) -> None:
    batch = a_batch(columns=dropped, paths=dropped)
    with torch.no_grad():
        whole = model(batch)
        parts = [model(batch.part(slice(first, first + 2))) for first in (0, 2)]
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)


def test_cross_entropy_is_scikit_learns() -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    labels = np.arange(20) % 4
    targets = torch.eye(4)[labels]
    expected = log_loss(labels, logits.double().softmax(dim=1).numpy())
    assert float(loss_of(logits, targets, "cross_entropy")) / divisor(targets, "clips") == pytest.approx(expected)
    smooth = (0.9 * targets + 0.1 / 4) * -logits.log_softmax(dim=1)  # the plain formula
    assert float(loss_of(logits, targets, "cross_entropy", 0.1)) == pytest.approx(float(smooth.sum()), rel=1e-5)


def test_binary_cross_entropy_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(20, 4, generator=generator), torch.rand(20, 4, generator=generator).round()
    likely = logits.double().sigmoid().numpy()
    expected = sum(log_loss(targets[:, c].numpy(), likely[:, c], labels=[0, 1]) for c in range(4))  # means over clips
    assert float(loss_of(logits, targets, "binary")) / divisor(targets, "clips") == pytest.approx(expected, rel=1e-5)
    assert divisor(targets, "labels") == float(targets.sum())
    assert divisor(torch.zeros(3, 2), "labels") == 1.0
