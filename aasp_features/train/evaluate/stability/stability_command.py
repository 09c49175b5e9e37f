"""The command ``aasp-train stability``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aasp_features.train.evaluate.command import Beside, Checkpoints, Device, Graphs, LastLayers, Poolings, find_methods

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aasp_features.sounds.sound import Sound
    from aasp_features.train.evaluate.methods import Method
    from aasp_features.train.evaluate.stability.change import Recordings
    from aasp_features.train.evaluate.stability.stability_report import Stability

MODEL_RATE = 16000


def stability(
    checkpoint: Checkpoints = None,
    sounds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="File, folder, shard or pattern of sounds (default: measure modulation only). Repeatable.",
        ),
    ] = None,
    recordings: Annotated[int, typer.Option(min=2, help="Largest number of sounds to use.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.5, max=10.0, help="Crop length, in seconds.")] = 4.0,
    pooling: Poolings = None,
    last_layers: LastLayers = None,
    beside: Beside = None,
    graphs: Graphs = "",
    device: Device = None,
    out: Annotated[Path | None, typer.Option(help="Folder for stability.md, .json and .png.")] = None,
) -> None:
    """Measure how stable vectors are in time and speed.

    Prints their changes when a sound shifts in time or speed, and whether they distinguish a modulation from its alias.
    """
    from aasp_features.sounds.discovery import find_sounds
    from aasp_features.train.evaluate.stability.stability_report import as_json, draw, stability_report
    from aasp_features.train.options import check_folder

    check_folder("--out", out)
    methods = find_methods(checkpoint, pooling, last_layers, beside, graphs, device)
    found = find_sounds(sounds).sounds if sounds else []
    results, count = _measure(methods, found, recordings, seconds)
    text = stability_report(results, count, seconds)
    sys.stdout.write(text)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "stability.md").write_text(text, encoding="utf-8")
        numbers = json.dumps(as_json(results, count, seconds), indent=1)
        (out / "stability.json").write_text(numbers + "\n", encoding="utf-8")
        draw(results, out / "stability.png")


def _measure(
    methods: Iterable[Method], sounds: Sequence[Sound], limit: int, seconds: float
) -> tuple[dict[str, Stability], int]:
    """Return each method's results and the number of recordings, and print a line on stderr for each."""
    from aasp_features.train.evaluate.stability.change import changes, read_recordings
    from aasp_features.train.evaluate.stability.modulation import read_modulation
    from aasp_features.train.evaluate.stability.stability_report import Stability

    results: dict[str, Stability] = {}
    read: dict[int, Recordings] = {}
    for method in methods:
        rate = method.sample_rate or MODEL_RATE
        if sounds and rate not in read:
            read[rate] = read_recordings(sounds, rate, seconds, limit)
            _say_what_is_missing(read[rate], rate)
        moved = changes(method, read[rate].waveforms, rate, seconds) if sounds else None
        results[method.name] = Stability(moved, read_modulation(method.embed, rate))
        typer.echo(f"{method.name}: measured", err=True)
    return results, max((len(one.waveforms) for one in read.values()), default=0)


def _say_what_is_missing(recordings: Recordings, rate: int) -> None:
    if recordings.too_short:
        typer.echo(f"{recordings.too_short} sounds are too short for such crops and are skipped", err=True)
    for name, reason in recordings.unreadable.items():
        typer.echo(f"{name}: {reason}", err=True)
