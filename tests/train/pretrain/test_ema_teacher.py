"""The teacher's targets by the plain formula, and how it follows the student."""

import numpy as np
import torch
from train_helpers import random_batch, tiny_recipe

from aasp_features.train.pretrain.ema_teacher import instance_norm
from aasp_features.train.pretrain.objective import Objective


def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(tiny_recipe())


def test_teacher_follows_by_the_formula() -> None:
    network = objective()
    with torch.no_grad():
        for parameter in network.student.parameters():
            parameter.add_(torch.randn_like(parameter))
    own = [parameter.clone() for parameter in network.ema_teacher.network.parameters()]
    network.ema_teacher.follow(network.student, 0.9, torch.tensor(True))
    new = [parameter.clone() for parameter in network.ema_teacher.network.parameters()]
    network.ema_teacher.follow(network.student, 0.9, torch.tensor(False))  # a step that was not finite
    for kept, after in zip(network.ema_teacher.network.parameters(), new, strict=True):
        assert torch.equal(kept, after)
    for before, after, student in zip(own, new, network.student.parameters(), strict=True):
        torch.testing.assert_close(after, 0.9 * before + 0.1 * student, atol=1e-6, rtol=1e-5)


def test_targets_by_the_plain_formula() -> None:
    """MLP outputs before the residual sum, instance norm over valid tokens, average of layers, layer norm."""
    network, batch = objective(), random_batch([64, 30], 4)
    targets = network.ema_teacher(batch)
    encoder = network.ema_teacher.network
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
        torch.testing.assert_close(targets.clip[row], torch.stack(layers).mean(0).mean(0), atol=1e-5, rtol=1e-4)


def test_instance_norm_with_weights_is_numpys() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(1, 5, 3), torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0])[None, :, None]
    used = x[0, :4].numpy()
    expected = (used - used.mean(axis=0)) / np.sqrt(used.var(axis=0) + 1e-5)
    normal, mean = instance_norm(x, weight)
    np.testing.assert_allclose(normal[0, :4], expected, atol=1e-5)
    np.testing.assert_allclose(mean[0, 0], used.mean(axis=0), atol=1e-6)
