"""Student, teacher and predictor together: nothing leaks, nothing padded counts, gradients go where they should."""

import numpy as np
import pytest
import torch
from train_helpers import model, random_batch, tiny_recipe

from aasp_features.train.pretrain.masking import Masks, TokenSet
from aasp_features.train.pretrain.objective import Objective, only_visible

KINDS = ["aape", "conv", "lowpass"]


def objective(patch_embed: str = "aape", **changes: dict[str, object]) -> Objective:
    torch.manual_seed(0)
    return Objective(tiny_recipe(model=model(patch_embed=patch_embed), **changes))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("patch_embed", KINDS)
def test_nothing_masked_reaches_the_student(patch_embed: str) -> None:
    network, batch = objective(patch_embed), random_batch([96, 96, 64, 96], 6)
    masks = network.draw_masks(batch, generator())
    views = network.recipe.masking.views
    before = network.encode_visible(batch, masks.visible).output
    for row in range(len(batch.frame_lengths)):  # change all that no view of this row may see
        keep = only_visible(torch.ones_like(batch.log_mel), masks.visible, views)[row * views : (row + 1) * views]
        hidden = batch.log_mel.clone()
        hidden[row] += 7 * (keep.sum(dim=0) == 0)
        after = network.encode_visible(batch._replace(log_mel=hidden), masks.visible)
        torch.testing.assert_close(after.output[after.valid], before[after.valid], atol=0, rtol=0)


@pytest.mark.parametrize("patch_embed", KINDS)
def test_a_masked_patch_of_one_view_does_not_reach_that_view(patch_embed: str) -> None:
    network, batch = objective(patch_embed), random_batch([96, 96], 6)
    masks = network.draw_masks(batch, generator())
    log_mel = batch.log_mel.clone().requires_grad_(True)
    network.encode_visible(batch._replace(log_mel=log_mel), masks.visible).output[0].square().sum().backward()
    seen = only_visible(torch.ones_like(batch.log_mel), masks.visible, network.recipe.masking.views)[0]
    assert log_mel.grad[0][seen == 0].abs().max() == 0
    assert log_mel.grad[0][seen == 1].abs().max() > 0


@pytest.mark.parametrize("patch_embed", KINDS)
def test_padding_reaches_no_loss(patch_embed: str) -> None:
    """Gradients are zero on padded frames, and longer padding changes no loss."""
    network, batch = objective(patch_embed, masking={"query_fraction": 1.0}), random_batch([96, 96, 40, 40], 6)
    log_mel = batch.log_mel.clone().requires_grad_(True)
    network(batch._replace(log_mel=log_mel), generator()).total.backward()
    padding = torch.arange(96) >= batch.frame_lengths[:, None]
    assert log_mel.grad[padding].abs().max() == 0
    short, long = random_batch([64, 64, 48, 48], 4), random_batch([64, 64, 48, 48], 4)
    wider = torch.cat([long.log_mel, torch.zeros(4, 48, 128)], dim=1)
    visible = TokenSet(torch.arange(6).repeat(8, 1), torch.ones(8, 6, dtype=torch.bool))
    queried = TokenSet(torch.arange(6, 20).repeat(8, 1), torch.ones(8, 14, dtype=torch.bool))
    losses = []
    for case in (short, long._replace(log_mel=wider)):
        network.draw_masks = lambda *_: Masks(visible, queried)  # type: ignore[method-assign]
        losses.append(network(case, generator()))
    for name in losses[0].parts:
        torch.testing.assert_close(losses[0].parts[name], losses[1].parts[name], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(losses[0].targets.clip, losses[1].targets.clip, atol=1e-5, rtol=1e-4)


def test_frame_loss_is_the_same_in_expectation_for_any_query_fraction() -> None:
    """Asking for a random part of the masked tokens estimates the mean over all of them without bias."""
    network, batch = objective(), random_batch([96] * 4, 6)
    with torch.no_grad():
        network.recipe.masking.query_fraction = 1.0
        full_masks = network.draw_masks(batch, generator())
        targets = network.ema_teacher(batch)
        views = network.encode_visible(batch, full_masks.visible)
        everything = network.predict_masked(batch, views, full_masks)
        errors = (everything - full_masks.queried.gather(targets.frame)).square().mean(dim=-1)
        estimates = []
        for seed in range(300):
            rng = torch.Generator().manual_seed(seed)
            chosen = torch.rand(errors.shape, generator=rng).argsort(dim=1)[:, : errors.shape[1] // 3]
            part = TokenSet(full_masks.queried.indices.gather(1, chosen), torch.ones_like(chosen, dtype=torch.bool))
            predicted = network.predict_masked(batch, views, Masks(full_masks.visible, part))
            torch.testing.assert_close(predicted, everything.gather(1, chosen[..., None].expand(-1, -1, 32)))
            estimates.append((predicted - part.gather(targets.frame)).square().mean().item())
    standard_error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - errors.mean().item()) < 4 * standard_error


def test_gradients_reach_all_but_the_teacher() -> None:
    network = objective()
    network(random_batch([64, 64, 30, 30], 4), generator()).total.backward()
    for name, parameter in network.named_parameters():
        if name.startswith("ema_teacher."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name


def test_both_networks_see_the_same_sound() -> None:
    """With everything visible and equal weights, the student's tokens are the teacher's."""
    network, batch = objective(), random_batch([64, 64], 4)
    everything = TokenSet(torch.arange(32).repeat(4, 1), torch.ones(4, 32, dtype=torch.bool))
    student = network.encode_visible(batch, everything).cls
    torch.testing.assert_close(student[::2], network.ema_teacher(batch).cls, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
def test_losses_on_the_gpu_equal_the_cpus() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network, batch = objective(), random_batch([96, 96, 40, 40], 6)
    expected = network(batch, generator()).parts
    moved = batch.to(torch.device("cuda"))
    for name, value in network.cuda()(moved, generator()).parts.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-3)
