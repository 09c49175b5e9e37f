"""What many tests need: sounds, measures, commands."""

import csv
import io
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import soundfile
import torch
import typer
from typer.testing import CliRunner

from aasp_features.windows import Window


def noise(samples: int, seed: int | None = None) -> np.ndarray:
    """(samples,) float32, a tenth of full scale; every length is another noise, unless a seed is given."""
    return (np.random.default_rng(samples if seed is None else seed).normal(size=samples) * 0.1).astype(np.float32)


def mixed_sounds() -> list[np.ndarray]:
    """Noise of many lengths, some of them longer than a window."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=samples).astype(np.float32) * 0.1 for samples in (500, 16000, 50000, 50000, 200000)]


def plan_windows(columns: int, window: int, context: int) -> list[Window[None]]:
    """The windows of a clip of so many columns, at least 1, by their definition, without what is in them."""
    starts = [*range(0, columns - window, window - 2 * context)]
    stops = [start + window - context for start in starts] + [columns]
    emitted = list(pairwise([0, *stops]))
    regular = [Window(None, start, start + window, *own) for start, own in zip(starts, emitted, strict=False)]
    return [*regular, Window(None, max(0, columns - window), columns, *emitted[-1])]


def plain_sblu(u: torch.Tensor, alpha: torch.Tensor, omega: torch.Tensor, kernel: str) -> tuple[torch.Tensor, ...]:
    """Equation (1) as it stands: the kernel written out over all K taps, in complex numbers; called like ``sblu``."""
    rate = torch.complex(alpha, omega)  # Λ, (..., S)
    taps = u.shape[-2]
    position = torch.arange(taps, dtype=u.dtype, device=u.device)[:, None] - (taps - 1) / 2  # k - c, (K, 1)
    if kernel == "quadrature":
        window = torch.exp(-alpha[..., None, :] * 0.01 * position.abs())
        values = window * torch.exp(-1j * omega[..., None, :] * 0.01 * position)
    elif kernel == "even":
        values = torch.exp(-0.01 * rate[..., None, :] * position.abs())
    else:
        values = torch.exp(-0.01 * rate[..., None, :] * ((taps - 1) / 2 - position))
    y = 2 / rate * torch.sinh(0.01 * rate / 2) * (values * u).sum(-2)
    return y.real, y.imag


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of vectors along the last axis."""
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest |a - b| / max(1, |b|): what the promises are stated in."""
    assert a.shape == b.shape
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())


def sound_bytes(sound: np.ndarray, rate: int, kind: str, subtype: str) -> bytes:
    """A file by libsndfile."""
    content = io.BytesIO()
    soundfile.write(content, sound, rate, format=kind, subtype=subtype)
    return content.getvalue()


def encode(
    sound: np.ndarray, rate: int, container: str, codec: str, bit_rate: int | None = None, **options: str
) -> bytes:
    """A file by FFmpeg, of (samples,) or (samples, channels) floats; the sample format is the codec's first."""
    content = io.BytesIO()
    planes = np.ascontiguousarray(sound.reshape(len(sound), -1).T, np.float32)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(planes)]
    with av.open(content, "w", format=container) as file:
        track = file.add_stream(codec, rate=rate, layout=layout, options=options)
        if bit_rate:
            track.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        fifo = av.AudioResampler(
            format=track.format.name, layout=layout, rate=rate, frame_size=track.frame_size or 1024
        )
        for piece in [*fifo.resample(frame), *fifo.resample(None)]:
            file.mux(track.encode(piece))
        file.mux(track.encode(None))
    return content.getvalue()


def ffmpeg_decode(content: bytes) -> tuple[np.ndarray, int]:
    """(samples, channels) float32 and rate of what PyAV decodes of a file of one rate."""
    with av.open(io.BytesIO(content)) as file:
        converter, blocks = av.AudioResampler(format="flt"), []
        for frame in file.decode(audio=0):
            for converted in converter.resample(frame):
                blocks.append(converted.to_ndarray().reshape(-1, len(converted.layout.channels)))
        return np.concatenate(blocks), converted.sample_rate


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


def check_help(app: typer.Typer) -> None:
    """Assert that help fits 80 columns, cuts no sentence, shows flags without a value, and has a sentence an option."""
    root = typer.main.get_command(app)
    commands = {(name,): command for name, command in getattr(root, "commands", {}).items()}
    for path, command in {(): root, **commands}.items():
        shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80).output
        assert max(map(len, shown.splitlines())) <= 80
        assert "..." not in shown.partition("Commands:")[2]
        entries = dict(re.findall(r"^  (?:-\w, )?(--[\w-]+)(.*(?:\n {3,}.*)*)", shown, re.MULTILINE))
        for option in (parameter for parameter in command.params if parameter.param_type_name == "option"):
            entry = entries[next(name for name in option.opts if name.startswith("--"))]
            assert (option.help or "").endswith("."), (path, option.opts)
            assert entry.startswith("  ") == bool(option.is_flag), (path, entry)
        assert entries["--help"].split() == ["Show", "this", "message", "and", "exit."]
