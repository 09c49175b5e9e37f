"""Charts of a run by matplotlib, as SVG in the colours of the report's page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Sequence[Mapping[str, float]]
Images = Mapping[str, NDArray[Any]]
Names = list[str] | str  # metrics; or a rate, whose distribution is drawn

LOSSES = "losses"
PROBES = [f"probe_{kind}_{which}" for kind in ("linear", "knn") for which in ("average", "last")]
PANELS: dict[str, Names] = {
    LOSSES: [],  # all losses of the run
    "online probe (%)": PROBES,
    "variance of targets": ["target_variance", "clip_target_variance"],
    "RankMe of clip vectors": ["rankme_mean", "rankme_cls"],
    "ω over patches and states (Hz)": "omega_hz",
    "α over patches and states (1/s)": "alpha",
    "gradient norm": ["gradient_norm"],
    "metric on the validation part (%)": ["validation"],  # of fine-tuning
}
PACE: dict[str, Names] = {"learning rate": ["learning_rate"], "crops a second": ["crops_per_second"]}
MAX_POINTS = 400  # of a curve; of more lines, each point is a mean
COLOURS = {
    f"#0000{index:02x}": name for index, name in enumerate(("ink", "line", "c1", "c2", "c3", "c4", "c5", "c6"), 16)
}
SHOWN_DB = 60.0


def found_panels(lines: Lines, panels: Mapping[str, Names] = PANELS) -> dict[str, Names]:
    """Return the panels whose metrics a run has."""
    losses = [name for name in lines[-1] if name.startswith("loss_")]
    wanted = {title: losses if title == LOSSES else names for title, names in panels.items()}
    recorded = {name for line in lines for name in line}
    return {
        title: names
        for title, names in wanted.items()
        if recorded.intersection([f"{names}_mean"] if isinstance(names, str) else names)
    }


def draw_panel(axes: Axes, lines: Lines, names: Names) -> None:
    """Draw the curves of some metrics, or the distribution of a rate, over the steps."""
    if isinstance(names, str):
        _draw_rate(axes, lines, names)
    for name in [] if isinstance(names, str) else names:
        steps, values = curve(lines, name)
        if len(steps):
            axes.plot(steps, values, ".-" if len(steps) == 1 else "-", label=name.replace("_", " "), linewidth=1.2)
    axes.grid(alpha=0.3)


def _draw_rate(axes: Axes, lines: Lines, name: str) -> None:
    """Draw quantiles of a rate, or mean and standard deviation for lines of earlier versions."""
    bands = [("5–95 %", 0.15, "q5", "q95"), ("25–75 %", 0.35, "q25", "q75")]
    middle = "median"
    quantiles = {f"q{share}": curve(lines, f"{name}_q{share}") for share in (5, 25, 50, 75, 95)}
    if not len(quantiles["q50"][0]):
        steps, mean = curve(lines, f"{name}_mean")
        deviation = curve(lines, f"{name}_std")[1]
        quantiles = {"q5": (steps, mean - deviation), "q50": (steps, mean), "q95": (steps, mean + deviation)}
        bands, middle = [("mean ± deviation", 0.25, "q5", "q95")], "mean"
    for label, alpha, low, high in bands:
        axes.fill_between(*quantiles[low], quantiles[high][1], color="C0", alpha=alpha, linewidth=0, label=label)
    axes.plot(*quantiles["q50"], color="C0", linewidth=1.2, label=middle)
    axes.plot(*curve(lines, f"{name}_std_within_state"), color="C1", linewidth=1.2, label="deviation within a state")


def curve(lines: Lines, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return steps and values of a metric, at most ``MAX_POINTS``; more are averaged in equal groups."""
    points = np.array([(line["step"], line[name]) for line in lines if name in line], np.float64).reshape(-1, 2)
    if len(points) > MAX_POINTS:
        points = np.array([group.mean(axis=0) for group in np.array_split(points, MAX_POINTS)])
    return points[:, 0], points[:, 1]


@contextmanager
def svg_axes(parts: list[str], size: tuple[float, float] = (4.2, 2.5)) -> Iterator[Axes]:
    """Yield axes of a new figure; at the end, its SVG in the page's colours is appended to ``parts``."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure

    ink, line, *series = COLOURS
    cycle = cycler(linestyle=["-", "--"]) * cycler(color=series)
    style: Any = {
        **{f"{part}.color": ink for part in ("text", "xtick", "ytick")},
        **{"axes.labelcolor": ink, "axes.edgecolor": line, "grid.color": line, "axes.prop_cycle": cycle},
        **{"axes.facecolor": "none", "savefig.transparent": True, "legend.frameon": False, "font.size": 8},
        **{"axes.spines.top": False, "axes.spines.right": False, "svg.fonttype": "none", "svg.hashsalt": "aasp"},
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots()
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = re.sub(r'<g id="[^"]*"', "<g", written.getvalue())  # the same in every figure of a page
    for code, name in COLOURS.items():
        text = text.replace(code, f"var(--{name})")
    parts.append(text[text.index("<svg") :].replace("<svg", '<svg role="img"', 1))


def metric_charts(lines: Lines, panels: Mapping[str, Names] = PANELS) -> dict[str, str]:
    """Return an SVG for each panel that the run has metrics of, by its title."""
    charts: list[str] = []
    found = found_panels(lines, panels)
    for names in found.values():
        with svg_axes(charts) as axes:
            draw_panel(axes, lines, names)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=7, borderaxespad=0.2)
            axes.set_xlabel("step")
    return dict(zip(found, charts, strict=True))


def mask_charts(shown: Images, config: AaSPConfig) -> dict[str, str]:
    """Return an SVG for each view of the crops of ``health.shown_crops``, by its title.

    Visible patches have the colours of the spectrogram, queried ones its greys; the others are dark.
    """
    charts: dict[str, str] = {}
    for crop, (log_mel, frames) in enumerate(zip(shown["log_mel"], shown["frame_lengths"], strict=True), start=1):
        for view, roles in enumerate(shown["roles"][crop - 1], start=1):
            parts: list[str] = []
            with svg_axes(parts, (4.2, 2.2)) as axes:
                draw_roles(axes, log_mel[: int(frames)].astype(np.float64), roles, config)
            charts[f"crop {crop}, view {view}"] = parts[0]
    return charts


def draw_roles(axes: Axes, log_mel: NDArray[np.float64], roles: NDArray[np.uint8], config: AaSPConfig) -> None:
    """Draw a log-mel, (frames, mels) standardised, by the roles of its tokens, (tokens,); see ``mask_charts``."""
    from matplotlib import colormaps

    levels = (log_mel * config.std + config.mean) * 10 / np.log(10)  # dB
    levels = ((levels - levels.max()) / SHOWN_DB + 1).clip(0, 1).T  # (mels, frames)
    grid = roles.reshape(-1, config.rows).T.repeat(PATCH, axis=0).repeat(PATCH, axis=1)[:, : len(log_mel), None]
    grey = np.repeat(levels[..., None], 3, axis=2)
    colour = colormaps["magma"](levels)[..., :3]
    picture = np.select([grid == 2, grid == 1], [colour, 0.15 + 0.85 * grey], 0.25 * grey)
    extent = (0.0, len(log_mel) * FRAME_HOP / config.sample_rate, 0.0, float(config.mels))
    axes.imshow(picture, origin="lower", aspect="auto", extent=extent, interpolation="none")
    axes.set(xlabel="time (s)", ylabel="mel band", yticks=range(0, config.mels + 1, 2 * PATCH))
