"""What many tests need: sounds, measures, commands."""

import csv
import os
import subprocess
from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner


def noise(samples: int, seed: int | None = None) -> np.ndarray:
    """(samples,) float32, a tenth of full scale; every length is another noise, unless a seed is given."""
    return (np.random.default_rng(samples if seed is None else seed).normal(size=samples) * 0.1).astype(np.float32)


def mixed_sounds() -> list[np.ndarray]:
    """Noise of many lengths, some of them longer than a window."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=samples).astype(np.float32) * 0.1 for samples in (500, 16000, 50000, 50000, 200000)]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of vectors along the last axis."""
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a - b| / max(1, |b|): what the promises are stated in."""
    assert a.shape == b.shape
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run_command(
    app: typer.Typer, *arguments: object, cwd: Path | None = None, input: str | None = None
) -> subprocess.CompletedProcess:
    """A command in this process, as if it had been one of its own; what it does not catch is raised here."""
    before = Path.cwd()
    try:
        os.chdir(cwd or before)
        done = CliRunner().invoke(app, list(map(str, arguments)), input=input, catch_exceptions=False)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)
