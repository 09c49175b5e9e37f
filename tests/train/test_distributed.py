"""Two real processes: gradients are those of the whole batch, and what ends a run ends it in both at one step."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from warm_process import WarmProcess

from aasp_features.train.distributed import agree_any, agree_max, average, gather, rank, world_size

HELPERS = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch has no gloo here")

BEGIN = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from torch import distributed
number, folder = int(sys.argv[1]), Path(sys.argv[2])
distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=number, world_size=2)
from aasp_features.train.data.crops import CropSampler
from aasp_features.train.pretrain import loop
from aasp_features.train.distributed import *
from aasp_features.train.pretrain.health import CollapseError
from aasp_features.train.pretrain.losses import contrastive_loss
from aasp_features.train.pretrain.loop import Pretraining
from train_helpers import random_corpus, tiny_recipe

def start(max_seconds=None, **changes):
    corpus = random_corpus([30, 100, 64, 200, 77, 150], seed=number)
    return Pretraining(CropSampler(corpus, tiny_recipe(**changes)), folder / "run", torch.device("cpu"), max_seconds)

def tell(**facts):
    (folder / f"told-{number}.json").write_text(json.dumps(facts))
"""

# Neither leaves before both have told, and then at once: gloo's threads may abort a process that takes itself apart.
END = """
import time
while not all((folder / f"told-{other}.json").exists() for other in (0, 1)):
    time.sleep(0.01)
os._exit(0)
"""


def told(folder: Path, code: str) -> list[dict]:
    """What each of two processes that run the code tells."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path]), "OMP_NUM_THREADS": "1"}
    for process in [WarmProcess(BEGIN + code + END, number, folder, env=environment) for number in (0, 1)]:
        done = process.finish()
        assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"told-{number}.json").read_text()) for number in (0, 1)]


def test_one_process_agrees_with_itself() -> None:
    tensor = torch.randn(3, requires_grad=True)
    assert gather(tensor) is tensor
    average([tensor])
    assert (agree_max(2.5), agree_any(False), agree_any(True), rank(), world_size()) == (2.5, False, True, 0, 1)


def test_values_are_agreed(tmp_path: Path) -> None:
    code = """
first, second = torch.full((2, 2), float(number)), torch.tensor(10.0 * number)
average([first, second])
tell(rank=rank(), size=world_size(), most=agree_max(3.0 - number), either=agree_any(number == 1),
     neither=agree_any(False), mean=[first.tolist(), second.item()])
"""
    common = {"size": 2, "most": 3.0, "either": True, "neither": False, "mean": [[[0.5, 0.5], [0.5, 0.5]], 5.0]}
    assert told(tmp_path, code) == [{"rank": 0, **common}, {"rank": 1, **common}]


def test_the_contrast_sees_the_views_of_all_processes(tmp_path: Path) -> None:
    """Averaged gradients of a weight are those of one process that has the whole batch."""
    code = """
torch.manual_seed(0)
views, weight, sound = torch.randn(12, 5), torch.randn(5, 4), torch.arange(12) // 3 % 3  # one sound in both halves
def loss_of(rows, parameter, collect):
    return contrastive_loss(collect(views[rows] @ parameter), collect(sound[rows]), 0.2)
whole, own = weight.clone().requires_grad_(), weight.clone().requires_grad_()
loss_of(slice(None), whole, lambda rows: rows).backward()
loss = loss_of(slice(6 * number, 6 * number + 6), own, gather)
loss.backward()
average([own.grad])
tell(difference=(own.grad - whole.grad).abs().max().item(), size=whole.grad.abs().max().item())
"""
    for one in told(tmp_path, code):
        assert one["size"] > 0.01
        assert one["difference"] < 1e-6


def test_weights_stay_equal_and_a_budget_ends_both_at_one_step(tmp_path: Path) -> None:
    """Each has sounds of its own, and a clock of its own: 10 and 17 ms a reading."""
    code = """
readings = iter(range(10**9))
loop.time = SimpleNamespace(monotonic=lambda: (0.01 + 0.007 * number) * next(readings))
run = start(max_seconds=0.5, run={"steps": 10**9})
complete = run.run()
values = torch.cat([value.detach().flatten() for value in run.objective.state_dict().values()])
both = gather(values)
tell(complete=complete, step=run.progress.step, seconds=run.progress.seconds, done=run.done,
     equal=torch.equal(both[: len(values)], both[len(values) :]))
"""
    one, other = told(tmp_path, code)
    assert one == other
    assert one["complete"]
    assert one["equal"]
    assert one["seconds"] >= 0.5
    assert 2 < one["step"] < 40
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, one["step"] + 1))  # only the first one wrote


def test_a_pause_is_one_of_both(tmp_path: Path) -> None:
    code = """
readings = iter(range(10**9))
loop.time = SimpleNamespace(monotonic=lambda: (0.01 + 0.03 * number) * next(readings))
run = start(run={"steps": 10**9})
tell(complete=run.run(stop_after=0.5), step=run.progress.step)
"""
    one, other = told(tmp_path, code)
    assert one == other
    assert not one["complete"]
    assert one["step"] > 1


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
