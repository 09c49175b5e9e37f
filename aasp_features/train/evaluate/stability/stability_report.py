"""Reports of stability: a table in Markdown, JSON, and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aasp_features.train.evaluate.stability.change import SHIFTS, Change, Changes
from aasp_features.train.evaluate.stability.modulation import COLUMN_RATE, ModulationReading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATCH_FRAMES = SHIFTS[-1]
DASHES = ("-", "--", ":")  # each for ten curves, the number of colours


@dataclass(frozen=True)
class Stability:
    """Results of one method; ``changes`` is None without recordings."""

    changes: Changes | None
    modulation: ModulationReading


Results = Mapping[str, Stability]


def stability_report(results: Results, recordings: int, seconds: float) -> str:
    """Return the results in Markdown.

    Args:
        results: Results by method name.
        recordings: Number of recordings.
        seconds: Length of the crops.
    """
    parts = []
    if recordings:
        parts += [
            f"Distance to the vector of the same sound, shifted by 1 to {PATCH_FRAMES - 1} frames of 10 ms (mean), by "
            f"a whole patch ({PATCH_FRAMES} frames), or played 2 % slower or faster. Distances are in % of the mean "
            "between two recordings, with 95 % intervals; smaller is better. The cosine follows. Frame vectors are "
            f"compared with the nearest in time. {recordings} recordings, crops of {seconds:g} s.",
            _change_table({name: found.changes for name, found in results.items() if found.changes}),
        ]
    parts += [
        "Noise with an amplitude modulation of 3 to 49 Hz, held-out clips: the share of the rate's variance that a "
        f"linear model explains (R²), and how often it distinguishes f from f + {COLUMN_RATE} Hz, which one sample per "
        "patch cannot (50 % is chance).",
        _modulation_table(results),
    ]
    return "\n\n".join(parts) + "\n"


def _change_table(results: Mapping[str, Changes]) -> str:
    lines = ["| | shifted | by a patch | frames shifted | frames by a patch | other speed |", "|---" * 6 + "|"]
    for name, found in results.items():
        cells = [_moved(found.clips), _cell([found.clips[PATCH_FRAMES]])]
        cells += [_moved(found.frames), _cell([found.frames[PATCH_FRAMES]])] if found.frames else ["–", "–"]
        cells.append(_cell(list(found.speeds.values())))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _moved(changes: Mapping[int, Change]) -> str:
    return _cell([changes[shift] for shift in SHIFTS[:-1]])


def _cell(changes: list[Change]) -> str:
    low, high = (np.mean([change.interval[end] for change in changes]) for end in (0, 1))
    distance, cosine = (np.mean([change[index] for change in changes]) for index in (1, 0))
    return f"{100 * distance:.1f} % ({100 * low:.1f}–{100 * high:.1f}), {cosine:.4f}"


def _modulation_table(results: Results) -> str:
    lines = ["| | R² of the rate | f from its alias, % |", "|---" * 3 + "|"]
    for name, found in results.items():
        low, high = found.modulation.interval
        told = f"{found.modulation.told_apart_mean:.1f} ({low:.1f}–{high:.1f})"
        lines.append(f"| {name} | {found.modulation.explained:.2f} | {told} |")
    return "\n".join(lines)


def as_json(results: Results, recordings: int, seconds: float) -> dict[str, Any]:
    """Return all results with keys that JSON can hold."""
    return {
        "recordings": recordings,
        "seconds": seconds,
        "methods": {
            name: {"changes": _plain(found.changes), "modulation": asdict(found.modulation)}
            for name, found in results.items()
        },
    }


def _plain(changes: Changes | None) -> dict[str, dict[str, dict[str, Any]]] | None:
    if changes is None:
        return None
    kinds: dict[str, Mapping[Any, Change]]
    kinds = {"clips": changes.clips, "frames": changes.frames, "speeds": changes.speeds}
    return {kind: {str(amount): change._asdict() for amount, change in found.items()} for kind, found in kinds.items()}


def draw(results: Results, file: Path) -> None:
    """Plot the results over the shift and over the modulation rate."""
    from matplotlib.figure import Figure

    moved = any(found.changes for found in results.values())
    figure = Figure(figsize=(13 if moved else 5, 4), layout="constrained")
    axes = figure.subplots(1, 3 if moved else 1, squeeze=False)[0]
    for index, (name, found) in enumerate(results.items()):
        colour, dashes = f"C{index % 10}", DASHES[index // 10 % len(DASHES)]
        if found.changes:
            _curve(axes[0], found.changes.clips, colour, dashes)
            _curve(axes[1], found.changes.frames, colour, dashes)
        told = found.modulation.told_apart
        axes[-1].plot(list(told), list(told.values()), color=colour, linestyle=dashes, label=name, marker=".")
    if moved:
        for ax, title in ((axes[0], "clip vectors"), (axes[1], "frame vectors, nearest in time")):
            ax.set(
                title=title, xlabel="shift, frames of 10 ms", ylabel="distance, % of that between recordings", ylim=0
            )
    axes[-1].axhline(50, color="0.6", linewidth=1)
    axes[-1].set(title=f"f told from f + {COLUMN_RATE} Hz", xlabel="modulation rate f, Hz", ylabel="held-out clips, %")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(file, dpi=120)


def _curve(axes: Axes, changes: Mapping[int, Change], colour: str, dashes: str) -> None:
    shifts = [0, *changes]
    axes.plot(shifts, [0.0, *(100 * change.distance for change in changes.values())], color=colour, linestyle=dashes)
    low, high = ([0.0, *(100 * change.interval[end] for change in changes.values())] for end in (0, 1))
    axes.fill_between(shifts, low, high, color=colour, alpha=0.15)
