"""Learning rates by layer, and along the run."""

import pytest
import torch
from finetune_helpers import tiny_encoder
from torch import nn

from aasp_features.train.evaluate.finetune.model import FineTuned
from aasp_features.train.evaluate.finetune.optimizer import build_optimizer
from aasp_features.train.evaluate.finetune.recipe import FinetuneOptimizerSettings


@pytest.mark.parametrize("method", ["adamw", "sgd"])
def test_every_parameter_has_the_rate_and_decay_of_its_layer(method: str) -> None:
    model = FineTuned(tiny_encoder(depth=3).network, torch.zeros(32), torch.ones(32), nn.Linear(32, 2))
    settings = FinetuneOptimizerSettings(method=method, rate=0.1, layer_decay=0.5, encoder_factor=3.0, weight_decay=0.2)
    optimizer = build_optimizer(model, settings)
    groups = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    expected = {"head": 1, "network.norm": 1, "network.blocks.2": 0.5 * 3, "network.blocks.1": 0.25 * 3}
    expected |= {"network.blocks.0": 0.125 * 3, "network.patch_embed": 0.0625 * 3, "network.cls": 0.0625 * 3}
    for name, parameter in model.named_parameters():
        factor = next(value for part, value in expected.items() if name.startswith(part))
        assert groups.pop(parameter)["lr"] == pytest.approx(0.1 * factor), name
    assert not groups
    decayed = {p for group in optimizer.param_groups if group["weight_decay"] == 0.2 for p in group["params"]}
    matrices = {module.weight for module in model.modules() if isinstance(module, nn.Linear)}
    assert decayed == matrices
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 0.2}
