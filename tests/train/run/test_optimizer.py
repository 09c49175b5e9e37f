"""Schedules by their formulas, decay where it belongs, gradients that stay finite."""

import math

import pytest
import torch
from torch import nn
from train_helpers import tiny_recipe

from aasp_features.train.pretrain.objective import Objective
from aasp_features.train.recipe import ObjectiveSettings, OptimizerSettings
from aasp_features.train.run.optimizer import (
    build_optimizers,
    ema_momentum,
    finish_gradients,
    learning_rate_share,
    set_learning_rate,
    take_step,
)


def test_learning_rate() -> None:
    rates = [2.0 * learning_rate_share(step / 1000, 0.1) for step in range(1001)]
    assert rates[0] == 0
    assert rates[50] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[:101] == sorted(rates[:101])
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_learning_rate_holds_before_it_falls() -> None:
    rates = [2.0 * learning_rate_share(step / 1000, 0.1, 0.5) for step in range(1001)]
    assert rates[100:501] == [2.0] * 401
    assert rates[750] == pytest.approx(1.0)
    assert rates[1000] == pytest.approx(0.0, abs=1e-12)
    assert rates[500:] == sorted(rates[500:], reverse=True)


def test_learning_rate_ends_at_the_last() -> None:
    shares = [learning_rate_share(done, 0.2, last=0.1) for done in (0.0, 0.1, 0.2, 0.6, 1.0, 1.1)]
    assert shares == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])
    assert learning_rate_share(0.4, 0.2, last=0.1) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate_share(0.0, 0.0) == 1.0


def test_teacher_momentum() -> None:
    settings = ObjectiveSettings(momentum_start=0.99, momentum_end=0.9999)
    values = [ema_momentum(step / 100, settings) for step in range(101)]
    assert values[0] == pytest.approx(0.99)
    assert values[-1] == pytest.approx(0.9999)
    assert values[50] == pytest.approx((0.99 + 0.9999) / 2)
    assert values == sorted(values)
    assert math.isclose(ema_momentum(2.0, settings), 0.9999)


def test_decay_is_for_matrices_of_linear_maps() -> None:
    objective = Objective(tiny_recipe())
    adam = build_optimizers(objective, OptimizerSettings())["adam"]
    decayed, rest = adam.param_groups
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim == 2 for p in decayed["params"])
    kept = {names[id(p)] for p in rest["params"]}
    assert {"student.cls", "predictor.mask_embedding", "student.patch_embed.lambda_encoder.omega_offset"} <= kept
    assert not any(name.startswith("ema_teacher") for name in kept)
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    parameters = [nn.Parameter(torch.zeros(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return [*parameters, nn.Parameter(torch.zeros(2))]  # the last one took no part


def test_the_norm_is_clipped_over_all_parameters() -> None:
    parameters = with_gradients([3.0, 0.0], [4.0])
    norm, finite = finish_gradients(parameters, torch.tensor(1.0), 2.5)
    assert norm.item() == 5.0
    assert bool(finite)
    torch.testing.assert_close(parameters[0].grad, torch.tensor([1.5, 0.0]))
    torch.testing.assert_close(parameters[1].grad, torch.tensor([2.0]))
    assert parameters[2].grad is None
    untouched = with_gradients([0.3, -0.2], [0.1])
    finish_gradients(untouched, torch.tensor(1.0), 2.5)
    assert torch.equal(untouched[0].grad, torch.tensor([0.3, -0.2]))


@pytest.mark.parametrize(
    ("gradient", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, -math.inf), (math.inf, math.nan)]
)
def test_where_something_is_not_finite_the_gradient_is_zero(gradient: float, loss: float) -> None:
    parameters = with_gradients([1.0, gradient], [1.0])
    optimizer = torch.optim.AdamW(parameters, lr=0.1)
    _, finite = finish_gradients(parameters, torch.tensor(loss), 3.0)
    assert not finite
    optimizer.step()
    for parameter in parameters:
        assert torch.equal(parameter, torch.zeros_like(parameter))
        assert all(torch.isfinite(value).all() for value in optimizer.state.get(parameter, {}).values())


def in_a_block(part: nn.Module) -> nn.Module:
    return nn.ModuleDict({"student": nn.ModuleDict({"blocks": nn.ModuleList([part])})})


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_step_that_is_not_finite_changes_nothing(decay: float, kind: str) -> None:
    """Neither weights, by decay, nor moments, nor their count of steps; and the next step is as if it had not been."""
    torch.manual_seed(0)
    runs = []
    for steps in ([True, True, True], [True, False, True, False, False, True]):
        linear = nn.Linear(4, 3)
        nn.init.constant_(linear.weight, 0.3)
        nn.init.constant_(linear.bias, 0.1)
        settings = OptimizerSettings(learning_rate=0.1, weight_decay=decay, kind=kind, muon_rate=0.1)
        optimizers = build_optimizers(in_a_block(linear), settings).values()
        done = 0
        for finite in steps:
            parts = [*linear.parameters()]
            before = [value.clone() for value in state_of(optimizers, parts)]
            for index, parameter in enumerate(parts):
                fill = torch.arange(parameter.numel()).reshape(parameter.shape) / 7 + done + index
                parameter.grad = fill if finite else torch.full_like(parameter, math.nan)
            take_step(optimizers, torch.tensor(finite))
            done += finite
            if not finite:
                after = state_of(optimizers, parts)
                assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        runs.append(state_of(optimizers, parts))
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def state_of(optimizers: list[torch.optim.Optimizer], parameters: list[nn.Parameter]) -> list[torch.Tensor]:
    states = [optimizer.state.get(parameter, {}) for optimizer in optimizers for parameter in parameters]
    moments = [value for state in states for value in state.values()]
    return [*(parameter.detach() for parameter in parameters), *moments]


def test_steps_are_those_of_adamw() -> None:
    """PyTorch's plain loop over parameters, in double precision."""
    torch.manual_seed(0)
    linear = nn.Linear(5, 4)
    other = nn.Linear(5, 4, dtype=torch.float64)
    other.load_state_dict(linear.state_dict())
    optimizers = build_optimizers(linear, OptimizerSettings(weight_decay=0.1)).values()
    groups = [{"params": [other.weight], "weight_decay": 0.1}, {"params": [other.bias], "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=5e-4, betas=(0.9, 0.95), foreach=False)
    for _ in range(20):
        for one, its in zip(linear.parameters(), other.parameters(), strict=True):
            one.grad = torch.randn_like(one)
            its.grad = one.grad.double()
        take_step(optimizers, torch.tensor(True))
        plain.step()
    for one, its in zip(linear.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.double(), its, atol=1e-6, rtol=1e-5)


def test_every_group_gets_the_same_share_of_its_highest_rate() -> None:
    settings = OptimizerSettings(kind="muon", learning_rate=1e-3, muon_rate=0.04)
    optimizers = build_optimizers(Objective(tiny_recipe()), settings).values()
    set_learning_rate(optimizers, 0.25)
    rates = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([2.5e-4, 2.5e-4, 0.01])


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    objective = Objective(tiny_recipe())
    adam, muon = build_optimizers(objective, OptimizerSettings(kind="muon")).values()
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    taken = [{names[id(p)] for group in one.param_groups for p in group["params"]} for one in (adam, muon)]
    trained = {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    matrices = {name for name, part in objective.named_modules() if isinstance(part, nn.Linear) and ".blocks." in name}
    assert taken[1] == {f"{name}.weight" for name in matrices} & trained
    assert taken[0] == trained - taken[1]
