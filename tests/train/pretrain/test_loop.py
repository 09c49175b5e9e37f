"""Runs: resume equals uninterrupted, budgets end schedules, damage is named, collapse stops."""

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from train_helpers import MODEL, random_batch, random_corpus, tiny_recipe

from aasp_features import AaSPEncoder, CheckpointError
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.export import export_encoder
from aasp_features.train.pretrain import loop, run_folder
from aasp_features.train.pretrain.health import CollapseError, Health, rank_me
from aasp_features.train.pretrain.loop import Pretraining, choose_precision
from aasp_features.train.pretrain.objective import Losses, Objective
from aasp_features.train.pretrain.optimizer import build_optimizer

CORPUS = random_corpus([30, 100, 64, 200, 77, 150, 90, 300])
CPU = torch.device("cpu")


def start(
    folder: Path, max_seconds: float | None = None, start_from: str | None = None, **changes: object
) -> Pretraining:
    return Pretraining(CropSampler(CORPUS, tiny_recipe(**changes)), folder, CPU, max_seconds, start_from)


def timeless(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / loop.METRICS_FILE).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "crops_per_second")} for line in lines]


def tick_at_every_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of the loop's own, 10 ms further at every look, so that a busy machine changes nothing."""
    clock = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 0.01 * next(clock)))


def stages(lines: list[dict[str, float]]) -> list[list[dict[str, float]]]:
    """Log lines before and after the change of stage at 0.7."""
    return [[line for line in lines if (line["done"] <= 0.7) == first] for first in (True, False)]


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    assert whole.run()
    for part in range(3):  # each part is a new object that knows only the folder
        resumed = start(tmp_path / "parts")
        assert resumed.progress.step == 2 * part
        while resumed.progress.step < 2 * part + 2:
            resumed.step()
        resumed.save()
    for key, value in whole.objective.state_dict().items():
        assert torch.equal(value, resumed.objective.state_dict()[key]), key
    for a, b in zip(whole.trained_parameters(), resumed.trained_parameters(), strict=True):
        for kind, value in whole.optimizer.state[a].items():
            assert torch.equal(value, resumed.optimizer.state[b][kind])
    # RankMe looks back over earlier steps' vectors, which a new process has not seen.
    signs = [
        [{k: v for k, v in m.items() if "rankme" not in k} for m in timeless(tmp_path / f)] for f in ("whole", "parts")
    ]
    assert signs[0] == signs[1]


def test_a_time_budget_ends_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick_at_every_reading(monkeypatch)
    run = start(tmp_path, max_seconds=0.5, steps=10**9)
    assert run.run()
    assert run.progress.seconds == pytest.approx(0.5, abs=0.02)
    last = timeless(tmp_path)[-1]
    assert last["done"] == 1.0
    assert last["learning_rate"] < 0.01 * run.recipe.learning_rate
    assert {max(line["columns"] for line in part) for part in stages(timeless(tmp_path))} == {4, 8}


def test_stop_after_pauses_and_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tick_at_every_reading(monkeypatch)
    run = start(tmp_path, steps=10**6)
    assert not run.run(stop_after=0.3)
    assert start(tmp_path, steps=10**6).progress.step == run.progress.step > 0


def test_a_run_may_start_from_a_checkpoint(tmp_path: Path) -> None:
    first = start(tmp_path / "first")
    first.run()
    checkpoint = export_encoder([tmp_path / "first"], tmp_path / "checkpoint", name="aasp-tiny-test-1", half=False)
    second = start(tmp_path / "second", start_from=str(checkpoint))
    for network in (second.objective.student, second.objective.teacher.network):
        for key, value in first.objective.teacher.network.state_dict().items():
            assert torch.equal(network.state_dict()[key], value)
    with pytest.raises(CheckpointError, match="weights do not fit"):
        start(tmp_path / "third", start_from=str(checkpoint), model={**MODEL, "dim": 64})


def test_the_mean_of_runs_is_exported(tmp_path: Path) -> None:
    runs = [start(tmp_path / name, seed=seed) for name, seed in (("one", 0), ("two", 1))]
    for run in runs:
        run.run()
    folder = export_encoder([run.folder for run in runs], tmp_path / "mean", name="aasp-tiny-test-1", half=False)
    assert "The weights are the mean of 2 such runs" in (folder / "README.md").read_text()
    mean = AaSPEncoder.from_pretrained(folder).network.state_dict()
    for key, value in mean.items():
        one, two = (run.objective.teacher.network.state_dict()[key] for run in runs)
        torch.testing.assert_close(value, (one + two) / 2)
    wider = start(tmp_path / "wider", model={**MODEL, "dim": 64})
    wider.save()
    with pytest.raises(ValueError, match="weights of another shape"):
        export_encoder([runs[0].folder, wider.folder], tmp_path / "mixed", name="aasp-tiny-test-1")


def test_a_failed_save_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path)
    run.step()
    run.save()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    run.step()
    monkeypatch.setattr(run_folder.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        run.save()
    monkeypatch.undo()
    assert start(tmp_path).progress.step == 1


def test_damaged_and_foreign_states_are_named(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.save()
    with pytest.raises(ValueError, match="belongs to another recipe"):
        start(tmp_path, contrast_dim=9)
    state = tmp_path / run_folder.STATE_FILE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        start(tmp_path)


def test_training_lowers_the_losses(tmp_path: Path) -> None:
    run = start(tmp_path, steps=60, mix_probability=0.0, gain_db=0.0, learning_rate=5e-3)
    run.run()
    lines = timeless(tmp_path)
    for loss in ("loss_frame", "loss_utterance"):
        assert np.mean([line[loss] for line in lines[30:40]]) < np.mean([line[loss] for line in lines[:3]])


def test_decay_is_for_matrices_of_linear_maps() -> None:
    objective = Objective(tiny_recipe())
    decayed, rest = build_optimizer(objective, objective.recipe).param_groups
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.ndim == 2 for p in decayed["params"])
    kept = {names[id(p)] for p in rest["params"]}
    assert {"student.cls", "predictor.mask_embedding", "student.patch_embed.lambda_encoder.omega_offset"} <= kept
    assert not any(name.startswith("teacher") for name in kept)


def test_the_faster_precision_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.cumsum([0, 2, 0, 1] * 3).tolist())
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    tried = []
    assert choose_precision("auto", CPU, tried.append) == "bfloat16"
    assert tried == ["float32", "bfloat16"] * 3
    assert choose_precision("float32", CPU, tried.append) == "float32"


def test_rank_me_of_known_spectra() -> None:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(200, 16)).Q
    basis = torch.linalg.qr(basis - basis.mean(dim=0)).Q
    assert rank_me(basis) == pytest.approx(16, rel=0.01)
    assert rank_me(torch.randn(200, 1) @ torch.ones(1, 16)) == pytest.approx(1, abs=0.05)


def test_collapse_stops_the_run(tmp_path: Path) -> None:
    objective, batch = Objective(tiny_recipe()), random_batch([64] * 4, 4)
    losses = objective(batch, torch.Generator().manual_seed(0))
    health = Health()
    health.collect(losses.targets)
    assert health.report(losses, objective, batch)["target_variance"] > 0.1
    flat = losses.targets._replace(frame=torch.ones_like(losses.targets.frame))
    with pytest.raises(CollapseError, match="targets have collapsed"):
        health.report(Losses(losses.total, losses.parts, flat), objective, batch)
    for _ in range(10):
        health.check_step(False)
    with pytest.raises(CollapseError, match="not finite for 11 steps"):
        health.check_step(False)


def test_frequencies_are_reported_inside_their_bands(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.run()
    for line in timeless(tmp_path):
        assert 3.125 < line["omega_hz_mean"] < 50
        assert 2 < line["alpha_mean"] < 60
        assert all(math.isfinite(value) for value in line.values())
