"""Crops a second of the teachers and of the student, alone and side by side; bytes on disk and memory.

``python tests/benchmarks/distillation_speed.py --data DATA --graphs GRAPHS``

A process that makes crops and runs the teachers on them has one thread, the student's steps have one, and another that
cuts the next batch; the last rows have two threads, first inside every operation, then each with half of the batch.
Their precision is the one that a trial found faster.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import torch

from aasp_features.train.data.waveform_crops import PIECE, crop_samples
from aasp_features.train.pretrain.crop_source import open_crops, open_features
from aasp_features.train.pretrain.external_teachers import ExternalTeacher
from aasp_features.train.pretrain.feature_makers import Makers
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.pretrain.teacher_features import TeacherFeatures
from aasp_features.train.recipe import Recipe
from aasp_features.train.recipes import load_recipe


def teachers_alone(features: TeacherFeatures, crops: int = 64) -> None:
    """One row for each teacher, on crops of the shortest length, eight at a time."""
    columns, cropper = min(length.columns for length in features.settings.lengths), features.cropper
    dim = (number for number in range(8 * PIECE) if cropper.columns(number // PIECE) == columns)
    made = (cropper.crop(number).waveform for number in dim)
    sounds = np.stack(list(islice((crop for crop in made if len(crop) == crop_samples(columns)), crops)))
    for description in features.teachers:
        teacher = ExternalTeacher(description)
        teacher.forward(sounds[:8])
        began = time.perf_counter()
        for first in range(0, len(sounds), 8):
            teacher.forward(sounds[first : first + 8])
        rate = len(sounds) / (time.perf_counter() - began)
        label = f"teacher {description.name}, {sounds.shape[1] / 16000:.2f} s, alone"
        print(f"| {label} | {rate:.0f} | {2 * teacher.dim} |", flush=True)


def making_alone(features: TeacherFeatures, seconds: float) -> float:
    """Crops a second of one process, from its first piece on."""
    makers = Makers(features, 10_000, 1)
    first = makers.wait(1)
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        time.sleep(0.1)
    made = features.complete() - first
    elapsed = time.perf_counter() - began
    makers.stop()
    return made * PIECE / elapsed


def training(recipe: Recipe, data: Path, run: Path, seconds: float, workers: int) -> tuple[float, float, float]:
    """Crops a second of the student and of one maker beside it, and the trainer's memory in MB."""
    recipe.distillation.workers = workers
    with open_crops(recipe, data, run, torch.device("cpu")) as crops:
        engine = Pretraining(crops, run, torch.device("cpu"))
        for _ in range(3):
            engine.step()
        before, seen = crops.features.complete(), engine.progress.crops  # type: ignore[union-attr]
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            engine.step()
        elapsed = time.perf_counter() - began
        made = crops.features.complete(before) - before  # type: ignore[union-attr]
        memory = psutil.Process().memory_full_info().uss / 1e6
    return (engine.progress.crops - seen) / elapsed, made * PIECE / elapsed, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--graphs", default="")
    parser.add_argument("--teachers", default="examples/teachers")
    parser.add_argument("--seconds", type=float, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"distillation.teachers={arguments.teachers}", f"distillation.graphs={arguments.graphs}"]
        settings += [
            "run.log_every=1000000",
            f"distillation.features={folder}/features",
            f"distillation.fit_crops={4 * PIECE}",
        ]
        recipe = load_recipe("tiny_distilled", settings)
        features = open_features(recipe, arguments.data, Path(folder))
        print("| what | crops/s | bytes a crop |\n|---|---|---|")
        teachers_alone(features)
        rate = making_alone(features, arguments.seconds)
        whole = [
            features.path(teacher.name, piece) for teacher in features.teachers for piece in range(features.complete())
        ]
        size = sum(path.stat().st_size for path in whole) / (PIECE * features.complete())
        print(f"| crops and all teachers, one process, all lengths | {rate:.0f} | {size:.0f} |", flush=True)
        Makers(features, 4, 1).wait()
        for workers, label in ((0, "student alone"), (1, "student beside a maker")):
            student, made, memory = training(recipe, arguments.data, Path(folder) / label, arguments.seconds, workers)
            print(f"| {label} ({memory:.0f} MB of its own) | {student:.0f} | |", flush=True)
        print(f"| that maker | {made:.0f} | |", flush=True)
        torch.set_num_threads(2)
        for parts, label in (
            (1, "student, two threads in every operation"),
            (2, "student, two threads, half of the batch each"),
        ):
            recipe.distillation.parts = parts
            student, _, memory = training(recipe, arguments.data, Path(folder) / label, arguments.seconds, 0)
            print(f"| {label} ({memory:.0f} MB of its own) | {student:.0f} | |", flush=True)


if __name__ == "__main__":
    main()
