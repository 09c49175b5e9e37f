"""The three losses, against loops."""

import math

import pytest
import torch

from aasp_features.train.pretrain.losses import clip_loss, contrastive_loss, frame_loss, standardise


def contrast_by_loops(projected: torch.Tensor, sound: list[int], temperature: float) -> float:
    unit = (projected / projected.norm(dim=1, keepdim=True)).double()
    losses = []
    for i, own in enumerate(sound):
        for j, other in enumerate(sound):
            if i != j and own == other:
                positive = math.exp(unit[i] @ unit[j] / temperature)
                negatives = sum(
                    math.exp(unit[i] @ unit[k] / temperature) for k, third in enumerate(sound) if third != own
                )
                losses.append(-math.log(positive / (positive + negatives)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("sound", [[0, 0, 1, 1], [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 0, 2, 1, 2, 2], [0, 0, 1]])
def test_contrast_equals_loops(sound: list[int]) -> None:
    torch.manual_seed(0)
    projected = torch.randn(len(sound), 8)
    result = contrastive_loss(projected, torch.tensor(sound), 0.1).item()
    assert result == pytest.approx(contrast_by_loops(projected, sound, 0.1), rel=1e-5)


def test_contrast_does_not_depend_on_the_order_of_views_or_sounds() -> None:
    torch.manual_seed(0)
    projected, sound = torch.randn(12, 8), torch.arange(12) // 4
    expected = contrastive_loss(projected, sound, 0.1)
    for seed in range(10):
        order = torch.randperm(12, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(contrastive_loss(projected[order], sound[order], 0.1), expected)
        torch.testing.assert_close(contrastive_loss(projected, 7 - sound, 0.1), expected)


def test_contrast_is_zero_at_its_best_and_chance_at_random() -> None:
    perfect = torch.eye(4).repeat_interleave(3, dim=0)
    assert contrastive_loss(perfect, torch.arange(12) // 3, 0.05) < 1e-6
    same = torch.ones(12, 4)
    assert contrastive_loss(same, torch.arange(12) // 3, 0.1).item() == pytest.approx(math.log(10), rel=1e-5)


def test_contrast_under_autocast_is_float32() -> None:
    torch.manual_seed(0)
    projected, sound = torch.randn(12, 8).bfloat16(), torch.arange(12) // 4
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = contrastive_loss(projected, sound, 0.1)
    assert result.item() == pytest.approx(contrast_by_loops(projected.float(), sound.tolist(), 0.1), rel=1e-5)


def test_frame_loss_counts_valid_queries_only() -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    valid = torch.tensor([[True, True, False], [True, False, False]])
    expected = sum((predicted[i, j] - target[i, j]).square().mean() for i, j in [(0, 0), (0, 1), (1, 0)]) / 3
    torch.testing.assert_close(frame_loss(predicted, target, valid), expected)


def test_clip_target_is_standardised_over_the_batch() -> None:
    torch.manual_seed(0)
    target = 5 + 3 * torch.randn(6, 4)
    scaled = (target - target.mean(dim=0)) / target.std(dim=0, unbiased=False)
    torch.testing.assert_close(standardise(target), scaled, atol=1e-4, rtol=1e-4)
    assert clip_loss(scaled.repeat_interleave(2, dim=0), target) < 1e-6
    assert clip_loss(torch.zeros(12, 4), target).item() == pytest.approx(1.0, abs=1e-4)
