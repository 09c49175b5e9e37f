"""Ablation of the patch embedding: train small students that differ in nothing else, and evaluate them alike.

    python examples/ablate_patch_embedding.py distilled --data DATA --tasks TASKS --graphs GRAPHS --out OUT
    python examples/ablate_patch_embedding.py masked --data DATA --tasks TASKS --out OUT

``distilled`` students learn from the teachers in ``examples/teachers``, whose graphs are in GRAPHS. ``masked``
students learn from AaSP's own losses. All have four blocks and as many steps. Distilled students of one seed see the
same crops in the same order. OUT/table.md and OUT/ablation.png show the means over the seeds. The same command resumes
an interrupted run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds
from aasp_features.train.evaluate.classifier import Classifier, logistic_regression, nearest_neighbours
from aasp_features.train.evaluate.methods import encoder_method
from aasp_features.train.evaluate.metrics import interval
from aasp_features.train.evaluate.probe import ProbeResult, probe
from aasp_features.train.evaluate.report import differences, table
from aasp_features.train.evaluate.stability import SHIFTS, changes, read_modulation, read_recordings
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks.reading import read_tasks
from aasp_features.train.whole_file import whole_file, write_whole

BLOCKS = 4
SECONDS = 2.0  # of the crops that are moved
FORMS = {
    "aape": [],
    "conv": ["model.patch_embed=conv"],
    "lowpass": ["model.patch_embed=lowpass"],
    "even kernel": ["model.kernel=even"],
    "one-sided kernel": ["model.kernel=one_sided"],
    "complex only": ["model.features=complex"],
    "modulus only": ["model.features=modulus"],
}
VARIANTS = {
    "distilled": FORMS,
    "masked": {
        "aape": [],
        "conv": ["model.patch_embed=conv"],
        "no contrast": ["objective.weights.contrast=0"],
        "conv, no contrast": ["model.patch_embed=conv", "objective.weights.contrast=0"],
        "2 masks": ["masking.views=1"],  # of two crops each; the others have two
        "8 masks": ["masking.views=4"],
        "1 mask, no contrast": ["data.crops=1", "masking.views=1", "objective.weights.contrast=0"],
    },
}
RULERS = {"Linear probe": logistic_regression, "k-nearest neighbours (k = 20)": nearest_neighbours}
FIRST_PAIR = ("aape", "conv")  # get a seed more than the others


def main() -> None:
    """Train missing runs, measure and write the results."""
    given = arguments()
    keep_settings(given)
    names = list(dict.fromkeys(given.only or VARIANTS[given.study]))
    runs = {name: [given.out / f"{name}-{seed}" for seed in range(seeds(name, given.seeds))] for name in names}
    wanted = [(name, seed) for seed in range(given.seeds) for name in names if seed < len(runs[name])]
    if given.study == "distilled":
        aasp_train("teacher-features", "--data", given.data, "--out", features(given), *taught(given))
    tasks = read_tasks([str(given.tasks)])
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda one: train_and_measure(given, tasks, *one), wanted))
    counted = ", ".join(f"{name} {len(own)}" for name, own in runs.items())
    parts = [
        f"{given.study}: {BLOCKS} blocks, {given.steps} steps. Means over seeds: {counted}. Intervals (95 %) are over "
        "clips drawn again, not over seeds; differences are over the seeds that both have."
    ]
    scores = {}
    for title, classifier in RULERS.items():
        probed = {name: [probes(tasks, classifier, run) for run in own] for name, own in runs.items()}
        results = {name: merged(tasks, own) for name, own in probed.items()}
        scores[title] = {name: [average(one) for one in own] for name, own in probed.items()}
        parts += [f"{title}, %:", table(tasks, results), *paired(tasks, probed)]
    steady = {name: [steadiness(given, run) for run in runs[name]] for name in names}
    parts += ["Steadiness, modulation and cost:", cost_table(runs, steady)]
    (given.out / "table.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    draw(scores, steady, given.out / "ablation.png")
    sys.stdout.write("\n\n".join(parts) + "\n")


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=list(VARIANTS))
    for name in ("data", "tasks", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--graphs", default="")
    parser.add_argument("--features", type=Path, help="folder of the teachers' features (default: OUT/features)")
    parser.add_argument("--crops", type=int, default=16384, help="number of distinct crops")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="concurrent runs, one thread each")
    parser.add_argument("--only", action="append", metavar="VARIANT", help="train this variant only; may be repeated")
    parser.add_argument("--moved", help="sounds for the shift measurement (default: the tasks')")
    parser.add_argument("--recordings", type=int, default=60, help="number of these sounds")
    parser.add_argument("--modulated", type=int, default=48, help="clips of noise per modulation rate")
    parser.add_argument("settings", nargs="*", help="key=value changes to the recipe")
    given = parser.parse_intermixed_args()
    if wrong := [name for name in given.only or [] if name not in VARIANTS[given.study]]:
        parser.error(f"--only {wrong[0]}: {given.study} has {', '.join(VARIANTS[given.study])}")
    if min(given.seeds, given.steps, given.jobs) < 1 or min(given.recordings, given.modulated) < 2:
        parser.error("seeds, steps and jobs must be at least 1, recordings and modulated at least 2")
    return given


def keep_settings(given: argparse.Namespace) -> None:
    """Write the settings that decide the results to OUT/settings.json; refuse a folder with other settings."""
    given.out.mkdir(parents=True, exist_ok=True)
    kept, free = given.out / "settings.json", ("out", "seeds", "jobs", "only", "graphs", "features")
    settings = {name: str(value) for name, value in vars(given).items() if name not in free}
    was = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else settings
    if differing := [f"{name} {was.get(name)}, now {now}" for name, now in settings.items() if was.get(name) != now]:
        raise SystemExit(f"{given.out} holds an ablation with {'; '.join(differing)}: give another --out.")
    write_whole(kept, json.dumps(settings, indent=1))


def seeds(name: str, most: int) -> int:
    """Return the number of seeds of a variant."""
    return most if name in FIRST_PAIR else max(1, most - 1)


def train_and_measure(given: argparse.Namespace, tasks: Sequence[Task], name: str, seed: int) -> None:
    """Train one run and keep its checkpoint and measurements, unless they exist."""
    run = given.out / f"{name}-{seed}"
    if not (run / "checkpoint").is_dir():
        train(given, name, seed, run)
    for task in tasks:
        vectors(run, task)
    steadiness(given, run)


def train(given: argparse.Namespace, name: str, seed: int, run: Path) -> None:
    """Train a run and export its checkpoint."""
    settings = [f"run.steps={given.steps}", f"run.seed={seed}", f"model.depth={BLOCKS}"]
    settings += [f"objective.target_layers={BLOCKS}", *VARIANTS[given.study][name]]
    if given.study == "distilled":
        settings += [*taught(given), f"distillation.features={features(given)}", "distillation.workers=0"]
        settings += ["distillation.longer_from=1", "distillation.last_layers=1"]
    recipe = "tiny_distilled" if given.study == "distilled" else "tiny_cpu"
    aasp_train("pretrain", "--recipe", recipe, "--data", given.data, "--out", run, *settings, *given.settings)
    aasp_train("export", run, "--out", run / "exported", "--name", "aasp-test-ablation-1")
    os.replace(run / "exported", run / "checkpoint")


def features(given: argparse.Namespace) -> Path:
    """Return the folder of the teachers' features."""
    return given.features or given.out / "features"


def taught(given: argparse.Namespace) -> list[str]:
    """Return the settings of the teachers and their crops."""
    teachers = Path(__file__).parent / "teachers"
    heard = [f"distillation.teachers={teachers}", f"distillation.graphs={given.graphs}"]
    return [*heard, f"distillation.crops={given.crops}", "distillation.crop.by_duration=0"]


def aasp_train(*command: object) -> None:
    """Run a command on one thread; print its messages only if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "aasp_features.train", *map(str, command)]
    result = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        raise SystemExit(result.stderr)


def probes(tasks: Sequence[Task], classifier: Classifier, run: Path) -> dict[str, ProbeResult]:
    """Return a run's results by task."""
    return {task.name: probe(vectors(run, task), task, classifier) for task in tasks}


def merged(tasks: Sequence[Task], runs: Sequence[dict[str, ProbeResult]]) -> dict[str, ProbeResult]:
    """Return one result per task over several seeds: their mean, and its interval."""
    results = {}
    for task in tasks:
        found = [run[task.name] for run in runs]
        scores, tested = [one for result in found for one in result.scores], found[0].tested
        drawn = [np.mean([task.value(tested[draw], one[draw]) for one in scores]) for draw in task.resamples(tested)]
        splits = {name: statistics.mean(result.splits[name] for result in found) for name in found[0].splits}
        values = [result.value for result in found]
        low, high = interval([float(value) for value in drawn])
        results[task.name] = ProbeResult(statistics.mean(values), splits, values, (low, high), tested, scores)
    return results


def paired(tasks: Sequence[Task], probed: dict[str, list[dict[str, ProbeResult]]]) -> list[str]:
    """Return Markdown: the first variant minus each other, over the seeds that both have."""
    (first, own), *others = probed.items()
    rows = []
    for name, other in others:
        both = zip(*zip(own, other, strict=False), strict=True)  # the longer one is cut
        rows.append(differences(tasks, dict(zip((first, name), (merged(tasks, one) for one in both), strict=True))))
    lines = [row.splitlines() for row in rows]
    return ["\n".join([*lines[0][:2], *(line[2] for line in lines)])] if lines else []


def vectors(run: Path, task: Task) -> np.ndarray:
    """Return the vectors of a task's clips, kept beside the checkpoint."""
    kept = run / f"{task.name}.npy"
    if not kept.is_file():
        found = AaSPEncoder.from_pretrained(run / "checkpoint").embed(list(task.files))
        with whole_file(kept) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    return np.load(kept)


def average(results: dict[str, ProbeResult]) -> float:
    """Return the average over the tasks."""
    return statistics.mean(result.value for result in results.values())


def steadiness(given: argparse.Namespace, run: Path) -> dict[str, float]:
    """Measure how far clip vectors move under shifts below a patch, and how well they encode modulation."""
    kept = run / "stability.json"
    if not kept.is_file():
        method = encoder_method(AaSPEncoder.from_pretrained(run / "checkpoint"), run.name, None, None)
        heard = read_recordings(find_sounds(given.moved or given.tasks).sounds, 16000, SECONDS, given.recordings)
        moved = changes(replace(method, embed_frames=None), heard.waveforms, 16000, SECONDS)
        held_out = max(1, given.modulated // 3)
        read = read_modulation(method.embed, 16000, given.modulated - held_out, held_out)
        numbers = {
            "moved": 100 * statistics.mean(moved.clips[shift].distance for shift in SHIFTS[:-1]),
            "rate": read.explained,
            "told": read.told_apart_mean,
        }
        write_whole(kept, json.dumps(numbers))
    return json.loads(kept.read_text(encoding="utf-8"))


def cost_table(runs: dict[str, list[Path]], steady: dict[str, list[dict[str, float]]]) -> str:
    """Return Markdown; times are for ten seconds of sound, all variants in turn, as ratios to the first."""
    encoders = {name: AaSPEncoder.from_pretrained(own[0] / "checkpoint") for name, own in runs.items()}
    sound = np.random.default_rng(0).normal(size=160_000).astype(np.float32) / 10
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(12):
        for name, encoder in encoders.items():
            began = time.perf_counter()
            encoder.embed(sound)
            if turn > 1:
                times[name].append(time.perf_counter() - began)
    first = statistics.median(next(iter(times.values())))
    lines = ["| | moved, % | R² of the rate | f from its alias, % | parameters | time to embed |", "|---" * 6 + "|"]
    for name, encoder in encoders.items():
        means = [statistics.mean(one[key] for one in steady[name]) for key in ("moved", "rate", "told")]
        ends = [[one[key] for one in steady[name]] for key in ("moved", "rate", "told")]
        cells = [f"{mean:.2f} ({min(own):.2f}–{max(own):.2f})" for mean, own in zip(means, ends, strict=True)]
        size = sum(parameter.numel() for parameter in encoder.parameters())
        lines.append(f"| {name} | {' | '.join(cells)} | {size:,} | {statistics.median(times[name]) / first:.2f} |")
    return "\n".join(lines)


def draw(scores: dict[str, dict[str, list[float]]], steady: dict[str, list[dict[str, float]]], file: Path) -> None:
    """Draw a panel per measure: a point per seed, and a line at their mean."""
    from matplotlib.figure import Figure

    panels = dict(scores)
    for key, title in (("told", "f told from f + 6.25 Hz, %"), ("moved", "moved less than a patch, %")):
        panels[title] = {name: [one[key] for one in own] for name, own in steady.items()}
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for ax, (title, found) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for place, (name, own) in enumerate(reversed(found.items())):
            colour = "C0" if name.startswith("aape") else "C1" if name.startswith("conv") else "0.5"
            ax.plot(own, [place] * len(own), "o", color=colour, alpha=0.6)
            ax.plot([statistics.mean(own)] * 2, [place - 0.3, place + 0.3], color=colour)
        ax.set(title=title, yticks=range(len(found)), yticklabels=list(reversed(found)) if ax is figure.axes[0] else [])
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
