"""Student, teacher and predictor together: nothing leaks, nothing padded counts, gradients go where they should."""

import numpy as np
import pytest
import torch
from train_helpers import MODEL, random_batch, tiny_recipe

from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.ema_teacher import instance_norm
from aasp_features.train.pretrain.masking import Masks, TokenSet
from aasp_features.train.pretrain.objective import Objective, only_visible

KINDS = ["aape", "conv", "lowpass"]


def objective(patch_embed: str = "aape", **changes: object) -> Objective:
    torch.manual_seed(0)
    return Objective(tiny_recipe(model={**MODEL, "patch_embed": patch_embed}, **changes))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("patch_embed", KINDS)
def test_nothing_masked_reaches_the_student(patch_embed: str) -> None:
    network, batch = objective(patch_embed), random_batch([96, 96, 64, 96], 6)
    masks = network.masks(batch, generator())
    views = network.recipe.views
    before = network.see(batch, masks.visible).output
    for row in range(len(batch.frames)):  # change all that no view of this row may see
        keep = only_visible(torch.ones_like(batch.log_mel), masks.visible, views)[row * views : (row + 1) * views]
        hidden = batch.log_mel.clone()
        hidden[row] += 7 * (keep.sum(dim=0) == 0)
        after = network.see(batch._replace(log_mel=hidden), masks.visible)
        torch.testing.assert_close(after.output[after.valid], before[after.valid], atol=0, rtol=0)


@pytest.mark.parametrize("patch_embed", KINDS)
def test_a_masked_patch_of_one_view_does_not_reach_that_view(patch_embed: str) -> None:
    network, batch = objective(patch_embed), random_batch([96, 96], 6)
    masks = network.masks(batch, generator())
    log_mel = batch.log_mel.clone().requires_grad_(True)
    network.see(batch._replace(log_mel=log_mel), masks.visible).output[0].square().sum().backward()
    seen = only_visible(torch.ones_like(batch.log_mel), masks.visible, network.recipe.views)[0]
    assert log_mel.grad[0][seen == 0].abs().max() == 0
    assert log_mel.grad[0][seen == 1].abs().max() > 0


@pytest.mark.parametrize("patch_embed", KINDS)
def test_padding_reaches_no_loss(patch_embed: str) -> None:
    """Gradients are zero on padded frames, and longer padding changes no loss."""
    network, batch = objective(patch_embed, query_fraction=1.0), random_batch([96, 96, 40, 40], 6)
    log_mel = batch.log_mel.clone().requires_grad_(True)
    network(batch._replace(log_mel=log_mel), generator()).total.backward()
    padding = torch.arange(96) >= batch.frames[:, None]
    assert log_mel.grad[padding].abs().max() == 0
    short, long = random_batch([64, 64, 48, 48], 4), random_batch([64, 64, 48, 48], 4)
    wider = torch.cat([long.log_mel, torch.zeros(4, 48, 128)], dim=1)
    visible = TokenSet(torch.arange(6).repeat(8, 1), torch.ones(8, 6, dtype=torch.bool))
    queried = TokenSet(torch.arange(6, 20).repeat(8, 1), torch.ones(8, 14, dtype=torch.bool))
    losses = []
    for case in (short, long._replace(log_mel=wider)):
        network.masks = lambda *_: Masks(visible, queried)  # type: ignore[method-assign]
        losses.append(network(case, generator()))
    for name in losses[0].parts:
        torch.testing.assert_close(losses[0].parts[name], losses[1].parts[name], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(losses[0].targets.utterance, losses[1].targets.utterance, atol=1e-5, rtol=1e-4)


def test_frame_loss_is_the_same_in_expectation_for_any_query_fraction() -> None:
    """Asking for a random part of the masked tokens estimates the mean over all of them without bias."""
    network, batch = objective(), random_batch([96] * 4, 6)
    with torch.no_grad():
        network.recipe.query_fraction = 1.0
        full_masks = network.masks(batch, generator())
        targets = network.teacher(batch)
        views = network.see(batch, full_masks.visible)
        everything = network.predict(batch, views, full_masks)
        errors = (everything - full_masks.queried.gather(targets.frame)).square().mean(dim=-1)
        estimates = []
        for seed in range(300):
            rng = torch.Generator().manual_seed(seed)
            chosen = torch.rand(errors.shape, generator=rng).argsort(dim=1)[:, : errors.shape[1] // 3]
            part = TokenSet(full_masks.queried.indices.gather(1, chosen), torch.ones_like(chosen, dtype=torch.bool))
            predicted = network.predict(batch, views, Masks(full_masks.visible, part))
            torch.testing.assert_close(predicted, everything.gather(1, chosen[..., None].expand(-1, -1, 32)))
            estimates.append((predicted - part.gather(targets.frame)).square().mean().item())
    standard_error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - errors.mean().item()) < 4 * standard_error


def test_gradients_reach_all_but_the_teacher() -> None:
    network = objective()
    network(random_batch([64, 64, 30, 30], 4), generator()).total.backward()
    for name, parameter in network.named_parameters():
        if name.startswith("teacher."):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name


def test_teacher_follows_by_the_formula() -> None:
    network = objective()
    with torch.no_grad():
        for parameter in network.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    own = [parameter.clone() for parameter in network.teacher.network.parameters()]
    network.teacher.follow(network.student, 0.9)
    new = network.teacher.network.parameters()
    for before, after, student in zip(own, new, network.student.parameters(), strict=True):
        torch.testing.assert_close(after, 0.9 * before + 0.1 * student, atol=1e-6, rtol=1e-5)


def test_targets_by_the_plain_formula() -> None:
    """MLP outputs before the residual sum, instance norm over valid tokens, average of layers, layer norm."""
    network, batch = objective(), random_batch([64, 30], 4)
    targets = network.teacher(batch)
    encoder = network.teacher.network
    for row, frames in enumerate([64, 30]):
        log_mel = batch.log_mel[row : row + 1, :frames]
        columns = -(-frames // 16)
        tokens = encoder.embed_patches(log_mel)[0] + encoder.positions[row : row + columns]
        x, updates = encoder.with_cls(tokens.flatten(0, 1)[None]), []
        for block in encoder.blocks:
            middle = x + block.attention(block.norm1(x))
            updates.append(block.mlp(block.norm2(middle)))
            x = middle + updates[-1]
        layers = [update[0, 1:].detach() for update in updates]
        normal = [(layer - layer.mean(0)) / (layer.var(0, unbiased=False) + 1e-5).sqrt() for layer in layers]
        average = torch.stack(normal).mean(0)
        expected = (average - average.mean(-1, True)) / (average.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(targets.frame[row, : 8 * columns], expected, atol=2e-4, rtol=1e-3)
        torch.testing.assert_close(targets.utterance[row], torch.stack(layers).mean(0).mean(0), atol=1e-5, rtol=1e-4)


def test_instance_norm_with_weights_is_numpys() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 5, 3), torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0])[None, :, None]
    used = x[0, :4].numpy()
    expected = (used - used.mean(axis=0)) / np.sqrt(used.var(axis=0) + 1e-5)
    normal, mean = instance_norm(x, weight)
    np.testing.assert_allclose(normal[0, :4], expected, atol=1e-5)
    np.testing.assert_allclose(mean[0, 0], used.mean(axis=0), atol=1e-6)


def test_both_networks_see_the_same_sound() -> None:
    """With everything visible and equal weights, the student's tokens are the teacher's."""
    network, batch = objective(), random_batch([64, 64], 4)
    everything = TokenSet(torch.arange(32).repeat(4, 1), torch.ones(4, 32, dtype=torch.bool))
    student = network.see(batch, everything).output[:, 0]
    torch.testing.assert_close(student[::2], network.teacher(batch).cls, atol=1e-5, rtol=1e-4)


@pytest.mark.gpu
def test_losses_on_the_gpu_equal_the_cpus() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    network, batch = objective(), random_batch([96, 96, 40, 40], 6)
    expected = network(batch, generator()).parts
    moved = Batch(*(part.cuda() for part in batch[:4]))
    for name, value in network.cuda()(moved, generator()).parts.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-3)
