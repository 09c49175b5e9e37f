"""How far does more of the same training go? ``python examples/open_audio/score_against_crops.py [PNG]``.

Fits a line over the logarithm of the crops that the student heard to the scores in ``score_against_crops.csv``, of
runs that went on from each other, and says where ten times the crops would end on it. The neighbours in that table have
one vote each; ``aasp-train knn`` weights votes since.
"""

import csv
import sys
from pathlib import Path

import numpy as np

RUNS = Path(__file__).parent / "score_against_crops.csv"
RULERS = {"linear": "linear probe", "neighbours": "five nearest neighbours"}


def points(ruler: str) -> tuple[np.ndarray, np.ndarray]:
    """Crops and scores of the runs that learnt from teachers."""
    with RUNS.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row[ruler] and int(row["crops"])]
    return np.array([int(row["crops"]) for row in rows]), np.array([float(row[ruler]) for row in rows])


def line(crops: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float]:
    """Slope and intercept over log10 of the crops, and the standard error of the slope."""
    x = np.log10(crops)
    fit, covariance = np.polyfit(x, scores, 1, cov="unscaled")
    spread = ((scores - np.polyval(fit, x)) ** 2).sum() / (len(x) - 2)
    return fit, float(np.sqrt(covariance[0, 0] * spread))


def draw(found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], file: Path) -> None:
    """Points, the line through them, and what it says of ten times the crops."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for ax, (ruler, (crops, scores, fit)) in zip(figure.subplots(1, 2, sharex=True), found.items(), strict=True):
        far = np.array([crops.min(), 10 * crops.max()])
        ax.plot(far, np.polyval(fit, np.log10(far)), "--", color="0.6", label="line through them")
        ax.plot(crops, scores, "o", label="runs")
        end = np.polyval(fit, np.log10(far[1]))
        ax.plot(far[1], end, "o", color="0.6", markerfacecolor="none", label="ten times more")
        ax.set(xscale="log", xlabel="crops that the student heard", ylabel=f"{RULERS[ruler]}, %")
    ax.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    """Print the table, and draw."""
    found = {}
    sys.stdout.write("| | runs | for ten times the crops | now | with ten times more |\n|---|---|---|---|---|\n")
    for ruler, name in RULERS.items():
        crops, scores = points(ruler)
        fit, error = line(crops, scores)
        found[ruler] = crops, scores, fit
        now, then = np.polyval(fit, np.log10(crops.max() * np.array([1, 10])))
        sys.stdout.write(f"| {name} | {len(crops)} | {fit[0]:+.1f} ± {error:.1f} | {now:.1f} | {then:.1f} |\n")
    if sys.argv[1:]:
        draw(found, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
