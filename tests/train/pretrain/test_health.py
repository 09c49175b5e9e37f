"""Vital signs of known tensors, and the stops."""

import math
from pathlib import Path

import pytest
import torch
from loop_helpers import start
from train_helpers import metrics, moments, random_batch, tiny_recipe

from aasp_features.train.pretrain.health import CollapseError, Health, rank_me
from aasp_features.train.pretrain.objective import Losses, Objective

GOOD, BAD = torch.tensor(True), torch.tensor(False)


def test_rank_me_of_known_spectra() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(200, 16)).Q
    basis = torch.linalg.qr(basis - basis.mean(dim=0)).Q
    assert rank_me(basis) == pytest.approx(16, rel=0.01)
    assert rank_me(torch.randn(200, 1) @ torch.ones(1, 16)) == pytest.approx(1, abs=0.05)


def test_collapsed_targets_stop_the_run() -> None:
    objective, batch = Objective(tiny_recipe()), random_batch([64, 64, 40, 40], 4)
    losses = objective(batch, torch.Generator().manual_seed(0))
    health = Health()
    health.collect(losses, GOOD)
    signs = health.metrics(losses, objective, batch)
    assert signs["target_variance"] > 0.1
    real = [losses.targets.frame[row, :tokens] for row, tokens in enumerate([32, 32, 24, 24])]
    assert signs["target_variance"] == pytest.approx(torch.cat(real).var(dim=0).mean().item(), rel=1e-5)
    flat = losses.targets._replace(frame=torch.ones_like(losses.targets.frame))
    with pytest.raises(CollapseError, match="targets have collapsed"):
        health.metrics(Losses(losses.total, losses.parts, flat), objective, batch)


@pytest.mark.parametrize(
    ("steps", "stops"),
    [([10], False), ([11], True), ([6, -1, 6], False), ([11, -5], True), ([7, 0, 4], True), ([5, -1, 0, 6], False)],
)
def test_steps_that_are_not_finite_are_counted_in_a_row(steps: list[int], stops: bool) -> None:
    """Runs of bad steps, and of good ones as negative numbers; at 0, and at the end, a line is logged."""
    objective, batch = Objective(tiny_recipe()), random_batch([64] * 4, 4)
    losses, health = Losses(torch.tensor(0.0), {}, None), Health()

    def follow() -> None:
        for count in [*steps, 0]:
            for _ in range(abs(count)):
                health.collect(losses, BAD if count > 0 else GOOD)
            if count == 0:
                health.metrics(losses, objective, batch)

    if stops:
        with pytest.raises(CollapseError, match="not finite for 11 steps"):
            follow()
    else:
        follow()


def test_a_bad_step_moves_nothing(tmp_path: Path) -> None:
    """Weights, moments and teacher are bit-equal after it, wherever in the run it comes."""
    run = start(tmp_path, run={"steps": 40}, objective={"momentum_start": 0.9}, optimizer={"warm_up": 0.0})
    for bad in (False, False, True, False, True, True):
        before = [value.clone() for value in moving(run)]
        backward, broken = run._backward, torch.tensor(math.inf if bad else 1.0)

        def breaking(*arguments: object, backward=backward, broken=broken) -> Losses:
            losses = backward(*arguments)
            for parameter in run.parameters[::5]:
                parameter.grad *= broken
            return losses

        run._backward = breaking
        run.step()
        run._backward = backward
        equal = [torch.equal(one, other) for one, other in zip(before, moving(run), strict=False)]
        assert all(equal) if bad else not any(equal[:1])


def moving(run: object) -> list[torch.Tensor]:
    """Weights, teacher's first, and moments."""
    own = [*run.objective.ema_teacher.network.parameters(), *run.parameters]
    return [*own, *(value for one in run.parameters for _, value in sorted(moments(run).get(one, {}).items()))]


def test_the_window_of_rank_me_is_kept(tmp_path: Path) -> None:
    run, other = start(tmp_path), Health()
    for _ in range(3):
        run.step()
    kept = {name: value.clone() for name, value in run.health.state().items()}
    assert sum(name.startswith("cls.") for name in kept) == 3
    other.restore(kept, torch.device("cpu"))
    other.restore(kept, torch.device("cpu"))  # twice is once
    assert all(torch.equal(kept[name], value) for name, value in other.state().items())
    assert set(kept) == set(other.state())
    assert len(other.recent_cls) == 3


def test_a_run_goes_on_over_some_bad_steps_and_stops_after_many(tmp_path: Path) -> None:
    run = start(tmp_path, run={"steps": 40})
    weight = run.objective.predictor.out.weight

    def poison() -> torch.Tensor:
        with torch.no_grad():
            kept = weight.clone()
            weight[0, 0] = math.nan
        return kept

    run.step()
    kept = poison()
    run.step()
    with torch.no_grad():
        weight.copy_(kept)
    run.step()
    assert all(torch.isfinite(parameter).all() for parameter in run.parameters)
    assert math.isfinite(metrics(tmp_path)[-1]["loss"])
    poison()
    with pytest.raises(CollapseError, match="not finite for 11 steps"):
        run.run()
    assert run.progress.step == 3 + 11


def test_frequencies_are_reported_inside_their_bands(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.run()
    for line in metrics(tmp_path):
        assert 3.125 < line["omega_hz_mean"] < 50
        assert 2 < line["alpha_mean"] < 60
        assert all(math.isfinite(value) for value in line.values())
