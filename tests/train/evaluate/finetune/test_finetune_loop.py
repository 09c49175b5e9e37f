"""Runs: resume equals uninterrupted, parts equal wholes, and what is kept is what validation liked."""

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from finetune_helpers import CPU, EVERYTHING, examples_of, start, tiny_encoder, tones
from safetensors.torch import load_file
from train_helpers import torchrun
from typer.testing import CliRunner

from aasp_features.train.cli import app
from aasp_features.train.evaluate.finetune import loop
from aasp_features.train.evaluate.finetune.loop import Finetuning
from aasp_features.train.run.stopping import StoppedError


def lines(folder: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in found]


def same_weights(one: Finetuning, other: Finetuning) -> None:
    for a, b in ((one.model, other.model), (one.average, other.average)):
        for key, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[key]), key


@pytest.mark.parametrize("method", ["adamw", "sgd"])
def test_resumed_equals_uninterrupted_bit_for_bit(task_folder: Path, tmp_path: Path, method: str) -> None:
    task = tones(task_folder)
    changes = {**EVERYTHING, "optimizer": {"method": method}}
    whole = start(tmp_path / "whole", task, **changes)
    whole.run()
    assert whole.steps == whole.progress.step == 12  # three epochs of 32 clips, none held out of eight groups of four
    for stop in (5, 6, 12):  # in the middle of an epoch, at once again, and at the end
        part = start(tmp_path / "parts", task, **changes)
        while part.progress.step < stop:
            part.step()
        part.save()
        part.step() if stop < 12 else None  # and a step that a kill takes back
    same_weights(whole, part)
    assert (whole.judged, whole.best.keys()) == (part.judged, part.best.keys())
    assert all(torch.equal(whole.best[name], part.best[name]) for name in whole.best)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")
    for one, other in zip(whole.parameters, part.parameters, strict=True):
        for kind, value in whole.optimizer.state[one].items():
            assert torch.equal(value, part.optimizer.state[other][kind]), kind


def test_rates_are_those_of_the_middle_of_each_step(task_folder: Path, tmp_path: Path) -> None:
    optimizer = {"rate": 1e-3, "warm_up": 0.25, "last_rate": 0.0, "encoder_factor": 1.0, "layer_decay": 1.0}
    run, rates = start(tmp_path, tones(task_folder), **{**EVERYTHING, "optimizer": optimizer}), []
    while run.done < 1.0:
        run.step()
        rates.append(run.optimizer.param_groups[0]["lr"])
    rising = [(step + 0.5) / 3 for step in range(3)]
    falling = [(1 + math.cos(math.pi * (step + 0.5) / 9)) / 2 for step in range(9)]
    assert rates == pytest.approx([1e-3 * part for part in (*rising, *falling)])


@pytest.mark.parametrize("per", ["clips", "labels"])
def test_parts_of_a_step_change_rounding_only(task_folder: Path, tmp_path: Path, per: str) -> None:
    task, gradients = tones(task_folder), []
    loss = {"kind": "binary", "per": per} if per == "labels" else {"smoothing": 0.1}
    for parts in (1, 3, 8):  # of a batch of 8
        run = start(tmp_path / str(parts), task, **{**EVERYTHING, "loss": loss, "run": {"parts": parts}})
        with torch.no_grad():
            run.model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
        value = run._backward(run.examples.batch(0))
        gradients.append(torch.cat([value[None], *(parameter.grad.reshape(-1) for parameter in run.parameters)]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], atol=1e-6, rtol=1e-4)


def test_it_learns_and_keeps_what_validation_liked(task_folder: Path, tmp_path: Path) -> None:
    changes = {"run": {"epochs": 8, "held_out": 0.25}, "optimizer": {"rate": 0.01, "layer_decay": 0.5}}
    run = start(tmp_path, tones(task_folder), **changes)
    run.run()
    told = lines(tmp_path)
    assert [line["epoch"] for line in told] == list(range(1, 9))
    assert told[-1]["loss_train"] < 0.5 * told[0]["loss_train"]
    values = [line["validation"] for line in told]
    best = max(range(8), key=lambda epoch: (values[epoch], epoch))  # of equals the later
    assert run.judged == {"value": pytest.approx(values[best], abs=1e-6), "epoch": best + 1}
    assert run.best.keys() == run.average.state_dict().keys()
    if best == 7:
        assert all(torch.equal(run.best[name], value) for name, value in run.average.state_dict().items())
    assert told[-1]["learning_rate"] < told[3]["learning_rate"]


@pytest.mark.usefixtures("few_epochs")
def test_the_probe_that_a_run_starts_from_is_judged(task_folder: Path, tmp_path: Path) -> None:
    changes = {"network": {"head": "probe"}, "run": {"epochs": 1, "held_out": 0.25}, "optimizer": {"rate": 1e3}}
    for _ in range(2):  # the second begins anew, as nothing was saved
        run = start(tmp_path, tones(task_folder), **changes)
        assert [line["step"] for line in lines(tmp_path)] == [0]
        assert run.judged == {"value": lines(tmp_path)[0]["validation"], "epoch": 0}
    run.run()
    assert [line["epoch"] for line in lines(tmp_path)] == [0, 1]
    assert run.judged["value"] == max(line["validation"] for line in lines(tmp_path))


def test_nothing_held_out_nothing_judged(task_folder: Path, tmp_path: Path) -> None:
    run = start(tmp_path, tones(task_folder), run={"held_out": 0.0, "epochs": 1})
    run.run()
    assert (run.judged, run.best) == (None, {})
    assert "validation" not in lines(tmp_path)[-1]


def test_a_time_budget_ends_the_schedule(task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(ticks)))
    run = start(tmp_path, tones(task_folder), max_seconds=6.0, run={"epochs": 10**6, "save_seconds": 1e9})
    run.run()
    assert run.progress.step == 6  # of one tick each
    assert [line["step"] for line in lines(tmp_path)] == [4, 6]
    assert lines(tmp_path)[-1]["done"] == 1.0


def test_a_signal_saves(task_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(tmp_path, tones(task_folder))
    step = run.step

    def step_and_ask() -> None:
        step()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(run, "step", step_and_ask)
    with pytest.raises(StoppedError, match="stopped at step 1; run the same command again"):
        run.run()
    assert start(tmp_path, tones(task_folder)).progress.step == 1


def test_other_runs_are_refused(task_folder: Path, tmp_path: Path) -> None:
    task = tones(task_folder)
    start(tmp_path, task).save()
    for changes, sentence in [
        ({"optimizer": {"rate": 0.5}}, r"with optimizer.rate=0.001, not 0.5; give the same settings"),
        ({"run": {"held_out": 0.3}}, "holds a run with other sounds"),
        ({"network": {"pooling": "cls"}}, r"with network.pooling=\"\", not \"cls\", config.pooling=\"mean\""),
    ]:
        with pytest.raises(ValueError, match=sentence):
            start(tmp_path, task, **changes)
    assert start(tmp_path, task, run={"parts": 2}).progress.step == 0


def test_a_run_goes_on_with_the_same_weights_under_any_name(task_folder: Path, tmp_path: Path) -> None:
    task, encoder = tones(task_folder), tiny_encoder()
    start(tmp_path, task).save()
    encoder.config = encoder.config.replace(name="another")
    Finetuning(encoder, examples_of(task, encoder), tmp_path, CPU)
    with torch.no_grad():
        encoder.network.cls[0] += 1
    with pytest.raises(ValueError, match=r"holds a run with weights=\"\w+…, not "):
        Finetuning(encoder, examples_of(task, encoder), tmp_path, CPU)


def test_a_loss_that_is_not_finite_is_a_sentence(task_folder: Path, tmp_path: Path) -> None:
    run = start(tmp_path, tones(task_folder))
    with torch.no_grad():
        run.model.head.weight.fill_(torch.inf)
    with pytest.raises(ValueError, match="the loss of epoch 1 is not finite"):
        run.run()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no gloo here")
def test_two_processes_share_every_batch(task_folder: Path, tmp_path: Path) -> None:
    """Where nothing is drawn at random, they take the steps of one; only the first writes and reports."""
    checkpoint = tiny_encoder().save_pretrained(tmp_path / "tiny")
    settings = ["clips.seconds=1.0", "network.head=zero", "run.epochs=1", "run.batch=8", "run.precision=float32"]
    settings += [f"augmentation.{name}=false" for name in ("roll", "gain")]
    settings += [f"augmentation.{name}=0" for name in ("mixup", "mask_bands", "mask_frames")]
    settings += [f"network.{name}=0" for name in ("drop_path", "token_dropping")]
    common = ["finetune", checkpoint, "--task", task_folder, "--fold", 5, "--device", "cpu", *settings]
    two = torchrun(*common, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    one = CliRunner().invoke(app, [*map(str, common), "--out", str(tmp_path / "one")])
    assert one.exit_code == 0, one.output
    states = [load_file(tmp_path / out / "state.safetensors") for out in ("one", "two")]
    for name in (name for name in states[0] if name.startswith("model")):
        torch.testing.assert_close(states[0][name], states[1][name], atol=1e-5, rtol=1e-4)
    assert two.stdout == (tmp_path / "two" / "report.md").read_text()
    assert len(lines(tmp_path / "two")) == 1
