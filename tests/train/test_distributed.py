"""Two real processes: one run, one batch, one sentence; what ends a run ends it in both at one step."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared_helpers import write_prepared
from safetensors.torch import load_file
from teacher_helpers import write_callable
from train_helpers import metrics, torchrun
from typer.testing import CliRunner
from warm_process import WarmProcess

from aasp_features.errors import OptionError
from aasp_features.train.cli import app
from aasp_features.train.distributed import (
    agree_any,
    agree_max,
    average,
    check_alike,
    gather,
    joined_processes,
    own_rows,
    world_size,
)
from aasp_features.train.pretrain import distilled_crops
from aasp_features.train.pretrain.crop_source import open_features
from aasp_features.train.pretrain.distilled_crops import check_batches
from aasp_features.train.pretrain.external_teachers import ExternalTeacher
from aasp_features.train.pretrain.losses import clip_loss, contrastive_loss, frame_loss
from aasp_features.train.recipes import load_recipe

HELPERS = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no gloo here")

BEGIN = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
number, folder = int(sys.argv[1]), Path(sys.argv[2])
os.environ.update(RANK=sys.argv[1], LOCAL_RANK=sys.argv[1])
import torch
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.distributed import *
from aasp_features.train.distributed import joined_processes
from aasp_features.train.pretrain import loop
from aasp_features.train.pretrain.health import CollapseError
from aasp_features.train.pretrain.losses import clip_loss, contrastive_loss, frame_loss
from aasp_features.train.pretrain.loop import Pretraining
from train_helpers import random_corpus, tiny_recipe

def start(max_seconds=None, **changes):
    from aasp_features.train.recipe import Stage
    data = {"stages": [Stage(0.7, 4, 4), Stage(1.0, 8, 2)]}
    corpus = random_corpus([30, 100, 64, 200, 77, 150])
    recipe = tiny_recipe(data=data, **changes)
    return Pretraining(CropSampler(corpus, recipe), folder / "run", torch.device("cpu"), max_seconds)

def tell(**facts):
    (folder / f"told-{number}.json").write_text(json.dumps(facts))

"""


def both(folder: Path, code: str) -> list[subprocess.CompletedProcess]:
    """How two processes end that run the code, in the environment of torchrun, which keeps their store."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    started = [WarmProcess(BEGIN + code, number, folder, env=environment) for number in (0, 1)]
    return [process.finish() for process in started]


def told(folder: Path, code: str) -> list[dict]:
    """What each of two processes tells."""
    for done in both(folder, 'with joined_processes("cpu"):\n' + textwrap.indent(code, "    ")):
        assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"told-{number}.json").read_text()) for number in (0, 1)]


def test_one_process_agrees_with_itself() -> None:
    tensor = torch.randn(3, requires_grad=True)
    assert gather(tensor) is tensor
    average([tensor])
    check_alike("anything")
    assert (agree_max(2.5), agree_any(False), agree_any(True), world_size()) == (2.5, False, True, 1)
    assert own_rows(6) == slice(0, 6)


def test_a_launcher_without_ranks_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE is set, but not LOCAL_RANK"), joined_processes("cpu"):
        pass


def test_values_are_agreed(tmp_path: Path) -> None:
    code = """
first, second = torch.full((2, 2), float(number)), torch.tensor(10.0 * number)
average([first, second])
check_alike("the same")
try:
    check_alike(f"process {number}")
except ValueError as error:
    tell(rank=rank(), size=world_size(), most=agree_max(3.0 - number), either=agree_any(number == 1),
         neither=agree_any(False), mean=[first.tolist(), second.item()], said=str(error)[:37])
"""
    common = {"size": 2, "most": 3.0, "either": True, "neither": False, "mean": [[[0.5, 0.5], [0.5, 0.5]], 5.0]}
    common["said"] = "the processes have different sounds, "
    assert told(tmp_path, code) == [{"rank": 0, **common}, {"rank": 1, **common}]


def test_losses_and_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """Negatives, clip statistics and counts of queries span the processes, which have different counts here."""
    inputs = """
torch.manual_seed(0)
views, weight, sound = torch.randn(12, 5), torch.randn(5, 4, requires_grad=True), torch.arange(12) // 3 % 3
target, valid = torch.randn(12, 4), torch.rand(12, 7) < torch.linspace(0.1, 1, 12)[:, None]
"""
    losses = """
projected = views[rows] @ weight
losses = [
    contrastive_loss(projected, sound[rows], 0.2),
    clip_loss(projected, target[rows]),
    frame_loss(projected[:, None].expand(-1, 7, -1), target[rows][:, None], valid[rows]),
]
(losses[0] + losses[1] + losses[2]).backward()
"""
    share = """
average([weight.grad, *losses])
tell(losses=torch.stack(losses).tolist(), gradient=weight.grad.tolist())
"""
    names = {"torch": torch, "rows": slice(None)}
    names |= {loss.__name__: loss for loss in (clip_loss, contrastive_loss, frame_loss)}
    exec(inputs + losses, names)
    for one in told(tmp_path, inputs + "rows = own_rows(12)\n" + losses + share):
        assert one["losses"] == pytest.approx([loss.item() for loss in names["losses"]], rel=1e-5)
        torch.testing.assert_close(torch.tensor(one["gradient"]), names["weight"].grad)


def test_weights_stay_equal_and_a_budget_ends_both_at_one_step(tmp_path: Path) -> None:
    """Each has a clock of its own: 10 and 17 ms a reading."""
    code = """
readings = iter(range(10**9))
loop.time = SimpleNamespace(monotonic=lambda: (0.01 + 0.007 * number) * next(readings))
run = start(max_seconds=0.5, run={"steps": 10**9})
paused = run.run(stop_after=0.2)
complete, step = run.run(), run.progress.step
values = torch.cat([value.detach().flatten() for value in run.objective.state_dict().values()])
both = gather(values)
tell(paused=paused, complete=complete, step=step, seconds=run.progress.seconds, done=run.done,
     equal=torch.equal(both[: len(values)], both[len(values) :]))
"""
    one, other = told(tmp_path, code)
    assert one == other
    assert one["complete"]
    assert not one["paused"]
    assert one["equal"]
    assert one["seconds"] >= 0.5
    assert 2 < one["step"] < 40
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, one["step"] + 1))  # only the first one wrote


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        (
            "run.objective.ema_teacher.target_layers = 2; networks = run.objective.ema_teacher.network",
            "targets have collapsed",
        ),
        ("networks = run.objective.predictor", "not finite for 11 steps"),
    ],
)
def test_trouble_in_one_process_stops_both_at_one_step(tmp_path: Path, trouble: str, sentence: str) -> None:
    value = "float('nan')" if "finite" in sentence else "0.0"
    code = f"""
run = start(run={{"steps": 60, "log_every": 4}}, objective={{"momentum_start": 1.0, "momentum_end": 1.0}})
run.step()
{trouble}
with torch.no_grad():
    for parameter in networks.parameters() if number == 1 else ():
        parameter.fill_({value})
try:
    run.run()
    tell(said="nothing")
except CollapseError as error:
    tell(said=str(error), step=run.progress.step)
"""
    one, other = told(tmp_path, code)
    assert one["step"] == other["step"] < 60
    assert sentence in one["said"]
    assert sentence in other["said"]


def test_each_process_decodes_its_rows_and_every_sound_comes_once_an_epoch(tmp_path: Path) -> None:
    """A step has four of the eight sounds, and each process two threads."""
    rng = np.random.default_rng(0)
    write_prepared(tmp_path / "corpus", [rng.normal(size=count) / 10 for count in range(4000, 12000, 1000)])
    code = """
from aasp_features.train.data.prepared import read_prepared
from aasp_features.train.recipe import Stage
recipe = tiny_recipe(data={"stages": [Stage(1.0, 8, 4)], "crops": 1, "mix_probability": 0.0})
corpus = read_prepared(folder / "corpus", recipe.config(), torch.device("cpu"), 2)
decode, decoded = corpus._decode, []
corpus._decode = lambda sound, *rest: decoded.append(sound) or decode(sound, *rest)
sampler = CropSampler(corpus, recipe)
steps = [sampler.batch(step, lambda later: later / 6)[0].sound for step in range(6)]
tell(seen=torch.cat(steps).tolist(), decoded=decoded)
"""
    one, other = told(tmp_path, code)
    for epoch in (slice(0, 4), slice(4, 8), slice(8, 12)):
        assert sorted(one["seen"][epoch] + other["seen"][epoch]) == list(range(8))
    for process in (one, other):
        assert sorted(process["decoded"]) == sorted(process["seen"])


def test_the_precision_is_that_which_is_faster_for_the_slowest(tmp_path: Path) -> None:
    """The first measures 1 s and 2 s, the second 4 s and 3 s; alone they would differ."""
    code = """
steps = [(0, 1, 0, 2), (0, 4, 0, 3)][number] * 3
readings = iter([sum(steps[: place + 1]) for place in range(12)])
loop.time = SimpleNamespace(monotonic=lambda: next(readings))
torch.backends.cpu.get_cpu_capability = lambda: "AVX512"
tell(precision=start(run={"precision": "auto"}).progress.precision)
"""
    assert told(tmp_path, code) == [{"precision": "bfloat16"}] * 2


SMALL = ["run.steps=20", "run.log_every=1", "run.precision=float32", "run.save_seconds=0", "model.dim=32"]
SMALL += ["model.depth=2", "model.heads=2", "model.states=4", "model.lambda_hidden=16", "objective.target_layers=2"]
SMALL += ["objective.predictor_depth=1", "data.stages.0.sounds=4", "data.stages.0.columns=8"]
SMALL += ["data.stages.1.sounds=2", "data.stages.1.columns=12"]


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ("--data gone", "--data gone", "gone: no such file or folder"),
        ("--data sounds", "--data gone", "gone: no such file or folder"),
        ("--data sounds", "--data sounds run.seed=1", "the processes have different sounds, settings or run folders"),
        ("--data sounds", "--data sounds --max-time 1", "different sounds, settings or run folders"),
        ("--data sounds", "--data sounds --out other", "and an --out on a disk that they share"),
        ("--data sounds data.stages.0.sounds=3",) * 2 + ("sounds of data.stages must be multiples of 2",),
        ("--data sounds --device cuda:7",) * 2 + ("device must be one that torch can use here",),
        ("--data sounds", "--data killed", "another process of this run ended; run the same command again"),
    ],
)
def test_an_error_is_said_once(first: str, second: str, sentence: str, sound_folder: Path, tmp_path: Path) -> None:
    code = f"""
from aasp_features.train.pretrain import crop_source
if {second!r}.endswith("killed") and number == 1:
    crop_source.load_corpus = lambda *_: os._exit(9)
from aasp_features.train.cli import main
os.chdir(folder)
given = [{first!r}, {second!r}][number].split()
sys.argv = ["aasp-train", "pretrain", "--out", "run", "--recipe", "tiny_cpu", "--device", "cpu", *given, *{SMALL[:-4]}]
main()
"""
    (tmp_path / "sounds").symlink_to(sound_folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.safetensors").touch()  # of an earlier run, on the disk of one machine
    ended = both(tmp_path, code)
    codes = {done.returncode for done in ended}
    assert 2 in codes
    assert 0 not in codes
    said = [line for done in ended for line in done.stderr.splitlines() if line.startswith("aasp-train")]
    assert len(said) == 1
    assert sentence in said[0]
    assert not any("Traceback" in done.stderr for done in ended)


def command(data: Path, out: Path) -> list[object]:
    return ["pretrain", "--data", data, "--out", out, "--recipe", "tiny_cpu", "--device", "cpu", *SMALL]


@pytest.fixture(scope="module")
def launched(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("launched")
    done = torchrun(*command(sound_folder, folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("complete at step 20") == 1
    assert done.stderr.count(" step 7 loss") == 1
    return folder


def test_two_processes_equal_one(launched: Path, sound_folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(argument) for argument in command(sound_folder, tmp_path)])
    assert done.exit_code == 0, done.output
    for one, two in zip(metrics(tmp_path), metrics(launched), strict=True):
        for name in ("step", "crops", "columns", "loss", "loss_frame", "loss_clip", "loss_contrast", "rankme_mean"):
            assert two[name] == pytest.approx(one[name], rel=1e-5), (name, one["step"])
    states = [load_file(folder / "state.safetensors") for folder in (tmp_path, launched)]
    for name in (name for name in states[0] if name.startswith("objective")):
        one, two = states[0][name], states[1][name]
        if name.endswith(("qkv.bias", "key_value.bias")):  # biases of keys have no gradient, only rounding
            keys = slice(32, 64) if "qkv" in name else slice(0, 32)
            assert (one[keys] - two[keys]).abs().max() < 0.02
            one[keys], two[keys] = 0.0, 0.0
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


DISTILLED = [*SMALL[1:11], "run.steps=6", "distillation.last_layers=1", "distillation.batch=8"]
DISTILLED += ["distillation.crop.lengths=[{columns: 4, share: 0.5}, {columns: 8, share: 0.5}]", "distillation.parts=1"]
DISTILLED += ["distillation.crops=512", "distillation.fit_crops=256", "distillation.token_dropping=0.4"]


def test_two_distilling_processes_equal_one(sound_folder: Path, tmp_path: Path) -> None:
    teacher = write_callable(tmp_path / "teacher")
    changes = [*DISTILLED, f"distillation.teachers=[{teacher}]", f"distillation.features={tmp_path / 'features'}"]
    both_runs = ["pretrain", "--data", str(sound_folder), "--recipe", "tiny_distilled", "--device", "cpu", *changes]
    code = f"""
from aasp_features.train.cli import main
sys.argv = ["aasp-train", *{both_runs}, "--out", str(folder / "two")]
main()
"""
    lines = [line for done in both(tmp_path, code) for line in done.stderr.splitlines()]
    (said,) = (line for line in lines if line.startswith("aasp-train"))
    assert "lacks features, which several processes do not compute" in said
    assert not (tmp_path / "features").exists()  # neither has decoded the corpus
    features = open_features(load_recipe("tiny_distilled", changes), sound_folder, tmp_path)
    for piece in range(2):
        features.make(piece, [ExternalTeacher(features.teachers[0])])

    alone = CliRunner().invoke(app, [*both_runs, "--out", str(tmp_path / "one")])
    assert alone.exit_code == 0, alone.output
    for done in both(tmp_path, code):
        assert done.returncode == 0, done.stderr
    for one, two in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert two["columns"] == one["columns"]
        assert two["loss_levels"] == pytest.approx(one["loss_levels"], rel=1e-5)
    assert {line["columns"] for line in metrics(tmp_path / "one")} == {4, 8}
    assert (tmp_path / "one" / "rounds.jsonl").read_text() == (tmp_path / "two" / "rounds.jsonl").read_text()
    states = [load_file(tmp_path / run / "state.safetensors") for run in ("one", "two")]
    for name in (name for name in states[0] if name.startswith("objective") and not name.endswith("qkv.bias")):
        # Adam divides small gradients by their own size, rounding included; six steps move a weight by 0.005.
        torch.testing.assert_close(states[0][name], states[1][name], atol=1e-4, rtol=1e-5)


def test_processes_cannot_share_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distilled_crops, "world_size", lambda: 4)
    recipe = load_recipe("tiny_distilled", [*DISTILLED, "distillation.teachers=[any.yaml]"])
    check_batches(recipe)  # 8 and 4
    uneven = replace(recipe, distillation=replace(recipe.distillation, batch=12))  # 12 and 6
    with pytest.raises(OptionError, match=r"multiple of 4 crops.*12 gives 6"):
        check_batches(uneven)
    with pytest.raises(OptionError, match=r"distillation.parts must be 1"):
        check_batches(replace(recipe, distillation=replace(recipe.distillation, parts=2)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_run_and_it_resumes(
    launched: Path, sound_folder: Path, tmp_path: Path, killed: int
) -> None:
    """Bit for bit, as the uninterrupted run of two processes."""
    watcher = WarmProcess(KILL, tmp_path, killed)
    done = torchrun(*command(sound_folder, tmp_path))
    assert watcher.finish().returncode == 0
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("aasp-train")] == [
        "aasp-train: another process of this run ended; run the same command again to continue from the saved state."
    ]
    assert torchrun(*command(sound_folder, tmp_path)).returncode == 0
    assert metrics(tmp_path) == metrics(launched)
    states = [load_file(folder / "state.safetensors") for folder in (tmp_path, launched)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


KILL = """
import os, signal, sys, time
from pathlib import Path
folder, rank = Path(sys.argv[1]), sys.argv[2]
while not (folder / "metrics.jsonl").exists() or (folder / "metrics.jsonl").read_text().count("\\n") < 6:
    time.sleep(0.05)
for process in Path("/proc").glob("[0-9]*"):
    try:
        told, own = (process / "cmdline").read_bytes(), (process / "environ").read_bytes().split(b"\\0")
    except OSError:
        continue
    if str(folder).encode() in told and f"RANK={rank}".encode() in own:
        os.kill(int(process.name), signal.SIGKILL)
"""
