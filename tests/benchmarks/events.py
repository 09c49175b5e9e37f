"""Events of ten-minute scenes with known times, before and after smoothing.

``python tests/benchmarks/events.py FOLDER [--scenes 5]``; FOLDER has a labels.csv of five-second clips in five
folds, such as ESC-10. A scene strings clips of two folds together; the classifier learns from the other three. An event
is right if it overlaps a true one of its class by half of their union.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from aasp_features import AaSPClassifier, AaSPEncoder, Event, FrameEmbeddings, load_audio
from aasp_features.events import EventOptions, find_events, smoothed
from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.classify import linear_classifier, read_task
from aasp_features.train.evaluate.held_out import class_thresholds
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.task import Task
from aasp_features.windows import COLUMN_SECONDS

SECONDS, RATE = 600, 16000
OFF = EventOptions(0.5, 0.0, 0.0, 0.0)
ROWS = {
    "frames as they are, threshold 0.5": OFF,
    "smoothed": OFF._replace(smooth=1.0),
    "smoothed, merged, short ones dropped": EventOptions(0.5),
    "the same, thresholds by class (default)": EventOptions(),
}


def part_of(task: Task, chosen: np.ndarray) -> Task:
    files = [task.files[index] for index in np.flatnonzero(chosen)]
    return replace(task, files=files, labels=task.labels[chosen], groups=task.groups[chosen], parts=task.parts[chosen])


def made_scene(task: Task, seed: int) -> tuple[np.ndarray, list[Event]]:
    """Clips in a random order, and when each class is there; neighbours of one class are one event."""
    parts: list[np.ndarray] = []
    truth: list[Event] = []
    now = 0.0
    for index in np.random.default_rng(seed).permutation(len(task.files)):
        clip, label = load_audio(task.files[index]), task.classes[task.labels[index]]
        end = now + len(clip) / RATE
        if end > SECONDS:
            break
        start = truth.pop().start if truth and truth[-1].label == label else now
        truth.append(Event(start, end, label, 1.0))
        parts.append(clip)
        now = end
    return np.concatenate(parts), truth


def matches(found: list[Event], truth: list[Event]) -> int:
    """One to one, by at least half of the union."""
    near = np.zeros((len(found), len(truth)), bool)
    for row, one in enumerate(found):
        for column, other in enumerate(truth):
            shared = min(one.end, other.end) - max(one.start, other.start)
            union = max(one.end, other.end) - min(one.start, other.start)
            near[row, column] = one.label == other.label and shared >= union / 2
    return int(near[linear_sum_assignment(near, maximize=True)].sum())


def events_of(classifier: AaSPClassifier, frames: FrameEmbeddings, options: EventOptions) -> list[Event]:
    """As ``classifier.events``, from frame vectors."""
    vectors, times = frames[:2]
    rows = [classifier.classify_vectors(block) for block in smoothed(vectors, times, options.smooth)]
    spans = {"min_duration": options.min_duration, "merge_gap": options.merge_gap}
    threshold = options.threshold or classifier.thresholds
    return find_events(np.concatenate(rows), times, classifier.labels, threshold, COLUMN_SECONDS, **spans)


def event_table(task: Task, vectors: np.ndarray, encoder: AaSPEncoder, scenes: int) -> None:
    counts = {name: np.zeros(4) for name in ROWS}  # right, found, true, of a single frame
    for scene in range(scenes):
        held = np.isin(task.parts, [str(scene % 5 + 1), str((scene + 1) % 5 + 1)])
        rest = part_of(task, ~held)
        classifier = linear_classifier(encoder, vectors[~held], rest)
        result = probe(vectors[~held], rest, logistic_regression)
        classifier.thresholds = class_thresholds(rest, result, classifier.labels)
        sound, truth = made_scene(part_of(task, held), scene)
        frames = encoder.embed_frames(sound)
        for name, options in ROWS.items():
            found = events_of(classifier, frames, options)
            single = sum(event.end - event.start < 0.17 for event in found)
            counts[name] += matches(found, truth), len(found), len(truth), single
    print(f"| {scenes} scenes | events (true {counts[name][2] / scenes:.0f}) | one frame | precision | recall | F1 |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, (right, given, true, short) in counts.items():
        rates = f"{right / given:.2f} | {right / true:.2f} | {2 * right / (given + true):.2f}"
        print(f"| {name} | {given / scenes:.0f} | {short / max(1, given):.0%} | {rates} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--scenes", type=int, default=5)
    given = parser.parse_args()
    task, encoder = read_task(given.folder), AaSPEncoder.from_pretrained()
    files: list[Path] = task.files
    vectors = np.concatenate([encoder.embed(files[first : first + 50]) for first in range(0, len(files), 50)])
    event_table(task, vectors, encoder, given.scenes)


if __name__ == "__main__":
    main()
