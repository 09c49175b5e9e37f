"""Runs: resume equals uninterrupted, budgets end schedules, and no step asks the device for a number."""

import itertools
import math
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loop_helpers import start
from train_helpers import metrics, model, moments

from aasp_features import CheckpointError
from aasp_features.train.pretrain import loop
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.recipe import Stage
from aasp_features.train.release.export import export_encoder
from aasp_features.train.run.state import read_record


def tick_at_every_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of the loop's own, 10 ms further at every look, so that a busy machine changes nothing."""
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.01 * next(clock)))


def stages(lines: list[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Log lines before and after the change of stage at 0.7."""
    return [[line for line in lines if (line["done"] <= 0.7) == first] for first in (True, False)]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path, kind: str) -> None:
    whole = start(tmp_path / "whole", optimizer={"kind": kind})
    assert whole.run()
    for part in range(3):  # each part is a new object that knows only the folder
        resumed = start(tmp_path / "parts", optimizer={"kind": kind})
        assert resumed.progress.step == 2 * part
        while resumed.progress.step < 2 * part + 2:
            resumed.step()
        resumed.save()
    for key, value in whole.objective.state_dict().items():
        assert torch.equal(value, resumed.objective.state_dict()[key]), key
    for a, b in zip(whole.parameters, resumed.parameters, strict=True):
        assert moments(whole)[a].keys() == moments(resumed)[b].keys()
        for name, value in moments(whole)[a].items():
            assert torch.equal(value, moments(resumed)[b][name])
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_a_time_budget_ends_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick_at_every_reading(monkeypatch)
    run = start(tmp_path, max_seconds=0.5, run={"steps": 10**9})
    assert run.run()
    assert run.progress.seconds == pytest.approx(0.5, abs=0.02)
    last = metrics(tmp_path)[-1]
    assert last["done"] == 1.0
    assert last["learning_rate"] < 0.01 * run.recipe.optimizer.learning_rate
    assert {max(line["columns"] for line in part) for part in stages(metrics(tmp_path))} == {4, 8}


def test_every_step_moves_the_weights_at_the_rate_of_its_middle(tmp_path: Path) -> None:
    run = start(tmp_path, run={"steps": 10}, optimizer={"learning_rate": 1e-3, "warm_up": 0.3})
    rates = []
    while run.done < 1.0:
        before = [parameter.detach().clone() for parameter in run.parameters]
        run.step()
        assert any(not torch.equal(a, b) for a, b in zip(before, run.parameters, strict=True))
        rates.append(run.optimizers["adam"].param_groups[0]["lr"])
    rising = [(step + 0.5) / 3 for step in range(3)]
    falling = [(1 + math.cos(math.pi * (step + 0.5) / 7)) / 2 for step in range(7)]
    assert rates == pytest.approx([1e-3 * part for part in (*rising, *falling)])


def test_the_first_rate_of_a_run_by_time_is_above_zero(tmp_path: Path) -> None:
    run = start(tmp_path, max_seconds=1e6, run={"steps": 10**6})
    run.step()
    assert run.optimizers["adam"].param_groups[0]["lr"] > 0


def test_stop_after_pauses_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick_at_every_reading(monkeypatch)
    run = start(tmp_path, run={"steps": 10**6})
    assert not run.run(stop_after=0.3)
    assert start(tmp_path, run={"steps": 10**6}).progress.step == run.progress.step > 0


def test_a_run_may_start_from_a_checkpoint(tmp_path: Path) -> None:
    first = start(tmp_path / "first")
    first.run()
    checkpoint = export_encoder([tmp_path / "first"], tmp_path / "checkpoint", name="aasp-tiny-test-1", half=False)
    second = start(tmp_path / "second", start_from=str(checkpoint))
    for network in (second.objective.student, second.objective.ema_teacher.network):
        for key, value in first.objective.ema_teacher.network.state_dict().items():
            assert torch.equal(network.state_dict()[key], value)
    with pytest.raises(CheckpointError, match="weights do not fit"):
        start(tmp_path / "third", start_from=str(checkpoint), model=model(dim=64))


def weights(run: Pretraining) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.objective.state_dict().values()])


def test_checkpointed_blocks_give_the_same_run(tmp_path: Path) -> None:
    runs = [start(tmp_path / str(one), run={"checkpointing": one}) for one in (False, True)]
    for run in runs:
        run.run()
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert metrics(tmp_path / "False") == metrics(tmp_path / "True")


@pytest.mark.slow
def test_compiled_blocks_give_the_same_run(tmp_path: Path) -> None:
    runs = [start(tmp_path / str(one), run={"compile": one, "steps": 3}) for one in (False, True)]
    for run in runs:
        run.run()
    losses = [[line["loss"] for line in metrics(tmp_path / str(one))] for one in (False, True)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert all(block._compiled_call_impl is not None for block in runs[1].objective.student.blocks)


def test_parts_of_a_batch_give_its_frame_loss_and_the_contrast_of_each(tmp_path: Path) -> None:
    """Masks, crops and the frame loss are those of the undivided batch; a part has the negatives of its own sounds."""
    stage = {"stages": [Stage(until=1.0, columns=1, sounds=4)]}
    frames = {"weights": {"frame": 1.0, "clip": 0.0, "contrast": 0.0}}
    runs = [start(tmp_path / str(n), run={"accumulate": n}, data=stage, objective=frames) for n in (1, 2)]
    for run in runs:
        run.run()
    whole, parts = metrics(tmp_path / "1"), metrics(tmp_path / "2")
    for name in ("loss_frame", "rankme_cls", "target_variance", "gradient_norm"):
        assert [line[name] for line in parts] == pytest.approx([line[name] for line in whole], rel=1e-4)
    assert all(a["loss_contrast"] < b["loss_contrast"] for a, b in zip(parts, whole, strict=True))
    with pytest.raises(ValueError, match=r"data.stages must be multiples of 3 \(processes x accumulate\), got 4"):
        start(tmp_path / "3", run={"accumulate": 3}, data=stage)


def test_a_float16_run_scales_its_loss_and_resumes_with_the_scale(tmp_path: Path) -> None:
    half = {"precision": "float16"}
    whole, parts = start(tmp_path / "whole", run=half), start(tmp_path / "parts", run=half)
    for run in (whole, parts):
        run.scaler.load_state_dict({**run.scaler.state_dict(), "scale": 2.0**40})  # overflows at first
    whole.run()
    assert 1 < whole.scaler.get_scale() < 2.0**40
    for _ in range(3):
        parts.step()
    parts.save()
    resumed = start(tmp_path / "parts", run=half)
    resumed.run()
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.scaler.state_dict() == resumed.scaler.state_dict()


def test_kept_states_are_run_folders(tmp_path: Path) -> None:
    run = start(tmp_path, run={"keep_states": 2, "save_seconds": 0.0})
    run.run()
    assert [path.name for path in sorted((tmp_path / "kept").iterdir())] == ["00000005", "00000006"]
    checkpoint = export_encoder([tmp_path / "kept" / "00000005"], tmp_path / "ck", name="aasp-tiny-test-1", half=False)
    assert checkpoint.is_dir()
    assert read_record(tmp_path / "kept" / "00000005")[0].step == 5


def test_training_lowers_the_losses(tmp_path: Path) -> None:
    changes = {"data": {"mix_probability": 0.0, "gain_db": 0.0}, "optimizer": {"learning_rate": 5e-3}}
    start(tmp_path, run={"steps": 60}, **changes).run()
    lines = metrics(tmp_path)
    for loss in ("loss_frame", "loss_clip"):
        assert np.mean([line[loss] for line in lines[30:40]]) < np.mean([line[loss] for line in lines[:3]])


def test_the_faster_precision_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.cumsum([0, 2, 0, 1] * 3).tolist())  # a step takes 2 s, then 1 s, three times
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    tried, backward = [], Pretraining._backward

    def counted(run: Pretraining, *arguments: object) -> object:
        tried.append(run.progress.precision)
        return backward(run, *arguments)

    monkeypatch.setattr(Pretraining, "_backward", counted)
    run = start(tmp_path / "auto", run={"precision": "auto"})
    assert run.progress.precision == "bfloat16"
    assert tried == ["float32", "bfloat16"] * 3
    assert all(parameter.grad is None for parameter in run.parameters)
    assert start(tmp_path / "asked").progress.precision == "float32"
    assert len(tried) == 6


@pytest.mark.parametrize("patch_embed", ["aape", "lowpass"])
def test_a_step_asks_the_device_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch_embed: str) -> None:
    """Tensors on the meta device have no numbers to give: whoever reads one, or waits for one, gets an error."""
    real, meta = torch.autocast, torch.device("meta")
    monkeypatch.setattr(
        torch, "autocast", lambda device, **rest: nullcontext() if device == "meta" else real(device, **rest)
    )
    changes = {"run": {"log_every": 10**6, "steps": 10**6}, "model": model(patch_embed=patch_embed)}
    run = start(tmp_path, device=meta, **changes)
    for _ in range(3):
        run.step()
    assert run.objective.student.cls.device == meta
    assert run.objective.student.cls.grad.device == meta
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        run.objective.student.cls.sum().item()
