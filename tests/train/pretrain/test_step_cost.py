"""What a step takes on the meta device: the bytes of the CPU's allocator, and a count by hand."""

import logging
from pathlib import Path

import pytest
import torch
from distillation_helpers import batch
from distillation_helpers import objective as distilled
from loop_helpers import start
from torch.profiler import ProfilerActivity, profile
from train_helpers import model, random_batch, tiny_recipe

from aasp_features.train.pretrain.objective import Objective, prepare_blocks
from aasp_features.train.pretrain.step_cost import StepCost, step_cost
from aasp_features.train.recipe import Stage

STAGES = [Stage(until=0.5, columns=4, sounds=2), Stage(until=1.0, columns=16, sounds=4)]  # a whole batch: 8 crops


def recipe(**changes: dict[str, object]):
    return tiny_recipe(**{"data": {"stages": STAGES, "crops": 2}, "model": model(dim=64), **changes})


def allocated(objective: Objective, columns: int, crops: int) -> tuple[int, int]:
    """Bytes at the end of the forward pass, and the most bytes of the step, by the CPU's allocator."""
    given = random_batch([16 * columns] * crops, columns)._replace(first_column=torch.zeros(crops, dtype=torch.long))
    for _ in range(2):  # the first one's memory includes what is made once
        objective.zero_grad()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as measured:
            losses = objective(given, torch.Generator())
            with torch.profiler.record_function("end of the forward pass"):
                pass
            losses.total.backward()
        del losses
    events = sorted(measured.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    now, forward, peak = 0, 0, 0
    for event in events:
        now += event.nbytes() if event.name() == "[memory]" else 0
        peak = max(peak, now)
        forward = now if event.name() == "end of the forward pass" else forward
    return forward, peak


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("patch_embed", ["aape", "lowpass"])
def test_memory_is_that_of_the_cpu(checkpointing: bool, patch_embed: str) -> None:
    chosen = recipe(run={"checkpointing": checkpointing}, model=model(dim=64, depth=4, patch_embed=patch_embed))
    cost = step_cost(chosen, "float32")
    objective = Objective(chosen)
    prepare_blocks(objective, chosen.run)
    given = 4 * 8 * 256 * 128  # the batch
    forward, peak = allocated(objective, columns=16, crops=8)
    assert cost.activations - given == pytest.approx(forward, rel=0.01)
    assert cost.peak - given - cost.weights - cost.moments == pytest.approx(peak, rel=0.02)


def test_arithmetic_is_that_of_a_count_by_hand() -> None:
    chosen = recipe(model=model(dim=128, depth=3, patch_embed="conv"), objective={"predictor_depth": 2})
    tokens, dim, views = 16 * 8, 128, 2
    seen = 1 + round(0.2 * tokens)  # with [CLS]
    queries = round(0.5 * (tokens - seen + 1))

    def block(count: int) -> tuple[int, int]:
        return 24 * count * dim**2, 4 * count**2 * dim

    stem = 2 * tokens * 256 * dim
    teacher = stem + 3 * sum(block(tokens + 1))
    linear, attention = block(seen)  # a backward pass takes 2 times as much, of attention 2.5 times
    student = 2 * stem + views * 3 * (3 * linear + 3.5 * attention)
    cross = 20 * queries * dim**2 + 4 * seen * dim**2
    ends = 2 * (seen + queries) * dim**2
    predictor = views * (2 * (3 * cross + 3.5 * 4 * queries * seen * dim) + 3 * ends)
    assert step_cost(chosen, "float32").flop == pytest.approx(teacher + student + predictor, rel=0.01)


def test_settings_change_what_they_should() -> None:
    whole = step_cost(recipe(), "float32")
    assert (whole.crops, whole.columns, whole.parts) == (8, 16, 1)
    networks = Objective(recipe())
    assert whole.parameters == sum(one.numel() for one in networks.parameters() if one.requires_grad)
    assert whole.gradients == 4 * whole.parameters
    assert whole.moments == pytest.approx(2 * whole.gradients, rel=0.01)
    parts = step_cost(recipe(run={"accumulate": 4}), "float32")
    assert (parts.crops, parts.parts, parts.flop) == (2, 4, pytest.approx(whole.flop, rel=0.01))
    assert parts.activations == pytest.approx(whole.activations / 4, rel=0.05)
    checkpointed = step_cost(recipe(run={"checkpointing": True}), "float32")
    assert checkpointed.activations < 0.6 * whole.activations
    assert checkpointed.flop > 1.1 * whole.flop
    assert step_cost(recipe(), "bfloat16").activations < 0.8 * whole.activations
    assert step_cost(recipe(optimizer={"kind": "muon"}), "float32").moments < 0.8 * whole.moments


def test_distillation_leaves_its_targets_alone() -> None:
    objective = distilled()
    targets = dict(objective.distillation.targets.items())
    cost = step_cost(objective.recipe, "float32", targets)
    assert (cost.crops, cost.columns) == (12, 64)  # of 64 crops of 12 columns
    objective(batch([64, 64], 4), torch.Generator()).total.backward()
    assert all(value.device.type == "cpu" for one in targets.values() for value in one.buffers())


def test_a_run_logs_three_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, random = start(tmp_path), torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        run.log_cost()
    assert [line.split(":")[0] for line in caplog.messages] == ["parameters", "memory", "arithmetic"]
    assert torch.equal(torch.get_rng_state(), random)
    gigabytes = [round(1e9 * size) for size in (0.81, 0.46, 0.93, 38, 42)]
    cost = StepCost(48, 64, 2, 115_910_000, *gigabytes, 1.3e12)
    assert cost.lines() == [
        "parameters: 115.91 million",
        "memory: 42.00 GB at most (weights 0.81, gradients 0.46, optimiser 0.93, activations of 48 crops of 10.2 s "
        "38.00)",
        "arithmetic: 1300.0 GFLOP a crop, 124.80 TFLOP a step",
    ]
