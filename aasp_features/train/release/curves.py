"""Plots of a run's losses and health metrics."""

from __future__ import annotations

from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.run_folder import METRICS_FILE, read_metrics

PANELS = {
    "losses": [],  # all losses of the run
    "variance of targets": ["target_variance", "clip_target_variance"],
    "RankMe of clip vectors": ["rankme_mean", "rankme_cls"],
    "ω over patches and states (Hz)": ["omega_hz_mean", "omega_hz_std", "omega_hz_std_within_state"],
    "α over patches and states (1/s)": ["alpha_mean", "alpha_std", "alpha_std_within_state"],
    "gradient norm": ["gradient_norm"],
    "metric on the validation part (%)": ["validation"],  # of fine-tuning
}


def draw_curves(run: Path, out: Path) -> None:
    """Plot each group of ``PANELS`` that the run has metrics of, in one image.

    Raises:
        TrainError: There are no metrics, or the image cannot be written.
    """
    from matplotlib.figure import Figure

    lines = read_metrics(run)
    if not lines:
        raise TrainError(f"{run / METRICS_FILE} is empty; wait for the run's first metrics.")
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    losses = [name for name in lines[-1] if name.startswith("loss_")]
    panels = {title: names or losses for title, names in PANELS.items()}
    told = {title: names for title, names in panels.items() if any(name in line for name in names for line in lines)}
    for index, (title, names) in enumerate(told.items()):
        axes = figure.add_subplot(2, -(-len(told) // 2), index + 1)
        for name in names:
            points = [(line["step"], line[name]) for line in lines if name in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    try:
        figure.savefig(out, dpi=110)
    except (OSError, ValueError) as error:  # ValueError: unknown image format
        raise TrainError(f"{out} cannot be written ({str(error).splitlines()[0]}).") from error
