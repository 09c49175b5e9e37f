"""Response of one state of the SBLU: tuning, shift stability, aliases, sensitivity to ω.

``python examples/aape_physics.py --out figures`` prints the tables and draws four figures. The stimuli are sinusoids
in one mel band of the log-mel, at all phases. Each patch's mean is removed, as AaPE does by default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aasp_features.config import Kernel
from aasp_features.model.patch_embed import FRAME_SECONDS, sblu

TAPS = 16
PATCH_RATE = 1 / (TAPS * FRAME_SECONDS)  # 6.25 Hz: modulations this far apart alias onto each other
KERNELS: tuple[Kernel, ...] = ("quadrature", "even", "one_sided")


def patches(frequency: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Return sinusoids over one patch, (…, 16), mean removed; shapes broadcast."""
    time = FRAME_SECONDS * np.arange(TAPS)
    wave = np.cos(2 * np.pi * frequency[..., None] * time + phase[..., None])
    return wave - wave.mean(axis=-1, keepdims=True)


def answer(wave: np.ndarray, omega_hz: float, alpha: float, kernel: Kernel) -> np.ndarray:
    """Return the complex response of one state to patches (…, 16)."""
    u = torch.from_numpy(wave)[..., None]
    shape = (*u.shape[:-2], 1)
    rates = torch.full(shape, alpha, dtype=u.dtype), torch.full(shape, 2 * np.pi * omega_hz, dtype=u.dtype)
    real, imaginary = sblu(u, *rates, kernel)
    return (real + 1j * imaginary)[..., 0].numpy()


def phases(count: int = 64) -> np.ndarray:
    """Return ``count`` evenly spaced phases of one turn, in radians."""
    return 2 * np.pi * np.arange(count) / count


def tuning_curve(omega_hz: float, alpha: float, kernel: Kernel, frequencies: np.ndarray) -> np.ndarray:
    """Return the mean modulus over phases at each modulation frequency."""
    wave = patches(frequencies[:, None], phases()[None])
    return np.abs(answer(wave, omega_hz, alpha, kernel)).mean(axis=1)


def tuning_error(omega_hz: float, alpha: float, kernel: Kernel) -> float:
    """Return the distance from ω to the modulation with the largest response, in Hz."""
    frequencies = np.arange(0.5, 50.01, 0.05)
    return float(frequencies[tuning_curve(omega_hz, alpha, kernel, frequencies).argmax()] - omega_hz)


def shift_stability(frequency: float, kernel: Kernel, alpha: float = 10.0) -> float:
    """Return the smallest over the mean modulus under all shifts of the patch grid, for a modulation at exactly ω."""
    size = np.abs(answer(patches(np.array([frequency]), phases(360)), frequency, alpha, kernel))
    return float(size.min() / size.mean())


def alias_probe(frequency: float, alias: float, features: str, seed: int = 0) -> float:
    """Return the share of recordings that a linear probe separates: modulated at ``frequency`` or at ``alias``.

    Each recording is 4 s long with a random phase. Half of the recordings train a least-squares classifier, the other
    half tests it.

    Args:
        features: means over a recording's 25 patches of ``linear`` (the patch itself), ``complex`` or ``modulus`` (16
            states spread over the band), or ``sequence``: the power spectrum, over the 25 patches and with its total
            set to 1, of one linear feature of a patch.
    """
    rng = np.random.default_rng(seed)
    label = np.arange(2000) % 2
    rate = np.where(label, alias, frequency)[:, None]  # (recordings, 1)
    starts = TAPS * FRAME_SECONDS * np.arange(25)
    wave = patches(rate, 2 * np.pi * (rate * starts + rng.uniform(size=(2000, 1))))  # (recordings, patches, 16)
    table = np.concatenate([describe(wave, features), np.ones((2000, 1))], axis=1)
    weights = np.linalg.lstsq(table[:1000], 2.0 * label[:1000] - 1, rcond=1e-9)[0]
    return float(((table[1000:] @ weights > 0) == label[1000:]).mean())


def describe(wave: np.ndarray, features: str) -> np.ndarray:
    """Return one row of features per recording of patches (recordings, patches, 16); see ``alias_probe``."""
    if features == "linear":
        return wave.mean(axis=1)
    if features == "sequence":
        power = np.abs(np.fft.rfft(wave[..., 0], axis=1)) ** 2
        return power / power.sum(axis=1, keepdims=True)
    states = [answer(wave, omega, 10.0, "quadrature") for omega in 3.125 + 46.875 * (np.arange(16) + 0.5) / 16]
    parts = (
        [np.abs(y) for y in states] if features == "modulus" else [part for y in states for part in (y.real, y.imag)]
    )
    return np.stack(parts, axis=-1).mean(axis=1)


def sensitivity(frequency: float, kernel: Kernel, alpha: float = 10.0, step: float = 1e-4) -> float:
    """Return the mean over phases of |∂|y|/∂ω| for a modulation at ω, in 1/Hz."""
    wave = patches(np.array([frequency]), phases())
    low, high = (np.abs(answer(wave, frequency + sign * step, alpha, kernel)) for sign in (-1, 1))
    return float(np.abs(high - low).mean() / (2 * step))


def relative_sensitivity(frequency: float, kernel: Kernel, alpha: float = 10.0) -> float:
    """Return ``sensitivity`` over the mean of |y|, as after a LayerNorm."""
    size = np.abs(answer(patches(np.array([frequency]), phases()), frequency, alpha, kernel)).mean()
    return sensitivity(frequency, kernel, alpha) / float(size)


def print_tables() -> None:
    """Return tuning, shift stability, aliases and their control, as Markdown."""
    print("Modulation answered most, minus ω (Hz), quadrature kernel")
    print("| α (1/s) | " + " | ".join(f"{omega} Hz" for omega in TUNED) + " |\n|---" + "|---" * len(TUNED) + "|")
    for alpha in (2, 10, 30, 60):
        print(
            f"| {alpha} | " + " | ".join(f"{tuning_error(omega, alpha, 'quadrature'):+.2f}" for omega in TUNED) + " |"
        )
    print("\nStability of the modulus under shifts (smallest over mean, α = 10)")
    print("| kernel | " + " | ".join(f"{rate:g} Hz" for rate in SHIFTED) + " |\n|---" + "|---" * len(SHIFTED) + "|")
    for kernel in KERNELS:
        print(f"| {kernel} | " + " | ".join(f"{shift_stability(rate, kernel):.2f}" for rate in SHIFTED) + " |")
    print("\nCan a linear probe on time-averaged features tell f from its alias?")
    print_probe(ALIASES, "alias", ("linear", "complex", "modulus"))
    # The means of linear features vanish at any modulation, alias or not, since phases are random. What aliasing itself
    # hides shows in the sequence of a linear feature over patches: sampled at 6.25 Hz, aliases are one modulation.
    print("\nControl: the same probe on pairs that are, and that are not, aliases")
    print_probe((ALIASES[0], *NOT_ALIASES), "other", ("linear", "sequence", "modulus"))


def print_probe(pairs: tuple[tuple[float, float], ...], second: str, kinds: tuple[str, ...]) -> None:
    """Return one table of ``alias_probe``."""
    print(f"| f | {second} | " + " | ".join(kinds) + " |\n|---|---" + "|---" * len(kinds) + "|")
    for frequency, alias in pairs:
        shares = [alias_probe(frequency, alias, features) for features in kinds]
        print(f"| {frequency:g} Hz | {alias:g} Hz | " + " | ".join(f"{100 * share:.0f} %" for share in shares) + " |")


TUNED = (4, 8, 16, 25, 35, 44, 48)
SHIFTED = (3.2, 5, 10, 20, 35, 45, 48)
ALIASES = ((4.0, 4.0 + PATCH_RATE), (5.0, 2 * PATCH_RATE - 5.0), (9.0, 9.0 + 3 * PATCH_RATE))
NOT_ALIASES = ((4.0, 6.0), (9.0, 13.0))


def alias_of(frequency: float) -> float:
    """Return the modulation that one looks like from patch to patch, 0 to 3.125 Hz."""
    return abs(frequency - PATCH_RATE * round(frequency / PATCH_RATE))


def draw_alias(path: Path, frequency: float = 10.0, seconds: float = 1.6) -> None:
    """Draw a modulation as the frames have it, what a patch each 160 ms sees of it, and what that looks like."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes, time = figure.subplots(), np.arange(0, seconds, 0.001)
    centres = np.arange(0.5, seconds * PATCH_RATE) / PATCH_RATE
    alias = alias_of(frequency)
    axes.plot(
        time, np.cos(2 * np.pi * frequency * time), color="0.7", label=f"loudness that changes at {frequency:g} Hz"
    )
    shift = np.pi * round(frequency / PATCH_RATE)  # as patches are read at their centres
    axes.plot(time, np.cos(2 * np.pi * alias * time + shift), "--", label=f"its alias, {alias:g} Hz")
    axes.plot(centres, np.cos(2 * np.pi * frequency * centres), "o", label="at the centre of each patch")
    for edge in np.arange(0, seconds + 1e-9, 1 / PATCH_RATE):
        axes.axvline(edge, color="0.9", linewidth=0.8, zorder=0)
    axes.set(xlabel="time (s)", xlim=(0, seconds), ylim=(-1.2, 1.9), yticks=[])
    axes.legend(loc="upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def draw(folder: Path) -> None:
    """Write patches_alias.png, tuning.png, shift_stability.png and sensitivity.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    draw_alias(folder / "patches_alias.png")
    frequencies = np.arange(0.5, 50.01, 0.25)
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), sharey=True, layout="constrained")
    for panel, kernel in zip(panels, KERNELS, strict=True):
        for omega in (8, 20, 35):
            panel.plot(frequencies, tuning_curve(omega, 10.0, kernel, frequencies), label=f"ω = {omega} Hz")
        panel.set(title=kernel, xlabel="modulation (Hz)")
    panels[0].set_ylabel("mean |y| over phases")
    panels[0].legend()
    figure.savefig(folder / "tuning.png", dpi=110)
    plt.close(figure)

    for name, measures in OVER_THE_BAND.items():
        figure, panels = plt.subplots(
            1, len(measures), figsize=(7 * len(measures), 4), squeeze=False, layout="constrained"
        )
        for panel, (label, measure) in zip(panels[0], measures.items(), strict=True):
            for kernel in KERNELS:
                panel.plot(BAND, [measure(rate, kernel) for rate in BAND], label=kernel)
            panel.set(xlabel="modulation = ω (Hz)", ylabel=label)
            panel.legend()
        figure.savefig(folder / f"{name}.png", dpi=110)
        plt.close(figure)


BAND = np.arange(3.25, 50, 0.25)  # Hz
OVER_THE_BAND: dict[str, dict[str, Callable[[float, Kernel], float]]] = {  # figure -> its panels
    "shift_stability": {"smallest over mean |y| under shifts": shift_stability},
    "sensitivity": {"|∂|y|/∂ω| (1/Hz)": sensitivity, "|∂|y|/∂ω| over |y| (1/Hz)": relative_sensitivity},
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of the figures (default: print the tables only)")
    arguments = parser.parse_args()
    print_tables()
    if arguments.out is not None:
        draw(arguments.out)
