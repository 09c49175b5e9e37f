"""Pictures of the rates that an encoder estimates; they need matplotlib (extra ``viz``)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from aasp_features.config import FRAME_HOP, PATCH
from aasp_features.encoder import AaSPEncoder
from aasp_features.inputs import InputError, read_inputs
from aasp_features.model.patch_embed import AaPE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_DB = 60.0


def plot_rates(encoder: AaSPEncoder, sound: Any, sample_rate: int | None = None, title: str = "") -> Figure:
    """Draw the spectrogram of a sound, with a dot on each patch for its strongest state.

    A dot's colour is the state's modulation frequency ω, its area the state's modulus |y|. The line through a dot
    extends to where the state's window decays to 1/e: 1/α to each side.

    Args:
        encoder: an encoder with the patch embedding ``aape``.
        sound: one input, as for ``AaSPEncoder.embed``, of at most one window (10.2 s).
        sample_rate: rate of a raw array, in Hz (default: 16,000).
        title: title of the picture.

    Raises:
        InputError: the patch embedding is another, there are several sounds, or the sound is longer.
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.colors import LogNorm
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "aasp-features[viz]".') from error
    log_mel = _log_mel(encoder, sound, sample_rate)
    omega, decay, strength = strongest_states(encoder, log_mel)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots()
    seconds = FRAME_HOP / encoder.config.sample_rate
    levels = (log_mel * encoder.config.std + encoder.config.mean).T.numpy() * 10 / math.log(10)  # dB
    extent = (0, log_mel.shape[0] * seconds, 0, log_mel.shape[1])
    axes.imshow(levels, origin="lower", aspect="auto", cmap="Greys", vmin=levels.max() - SHOWN_DB, extent=extent)
    columns, rows = omega.shape
    time = np.repeat((np.arange(columns) + 0.5) * PATCH * seconds, rows)
    mel = np.tile((np.arange(rows) + 0.5) * PATCH, columns)
    reach = np.minimum(decay.ravel(), PATCH * seconds / 2)
    axes.hlines(mel, time - reach, time + reach, color="0.35", linewidth=0.8)
    area = 90 * strength.ravel() / max(float(strength.max()), 1e-12)
    dots = axes.scatter(time, mel, s=area + 2, c=omega.ravel(), cmap="plasma", norm=LogNorm(3.125, 50), zorder=3)
    figure.colorbar(dots, label="modulation frequency ω of the strongest state (Hz)")
    axes.set(xlabel="time (s)", ylabel="mel band", title=title, xlim=(0, columns * PATCH * seconds))
    axes.set_yticks(range(0, log_mel.shape[1] + 1, PATCH))
    return figure


def strongest_states(
    encoder: AaSPEncoder, log_mel: torch.Tensor
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return ω in Hz, 1/α in seconds and |y| of each patch's strongest state, (columns, rows) each.

    Args:
        encoder: an encoder with the patch embedding ``aape``.
        log_mel: (frames, mels), standardised.

    Raises:
        InputError: the patch embedding is another.
    """
    embed = encoder.network.patch_embed
    if not isinstance(embed, AaPE):
        raise InputError(f"only aape estimates rates; this encoder has {encoder.config.patch_embed}.")
    with torch.inference_mode():
        alpha, omega = (rate[0] for rate in embed.rates(log_mel[None]))
        modulus = embed.moduli(log_mel[None])[0]
        best = modulus.argmax(dim=-1, keepdim=True)
        picked = [values.gather(-1, best)[..., 0] for values in (omega / (2 * math.pi), 1 / alpha, modulus)]
    return picked[0].numpy(), picked[1].numpy(), picked[2].numpy()


def _log_mel(encoder: AaSPEncoder, sound: Any, sample_rate: int | None) -> torch.Tensor:
    clips = read_inputs(sound, sample_rate=sample_rate, model_rate=encoder.config.sample_rate)
    if not clips.single:
        raise InputError("plot_rates draws one sound; give a single path or array.")
    samples = np.concatenate(list(clips.clips[0].blocks()))
    with torch.inference_mode():
        log_mel: torch.Tensor = encoder.log_mel(torch.from_numpy(samples))
    if len(log_mel) > PATCH * encoder.config.window:
        raise InputError(f"plot_rates draws one window ({encoder.config.window * 0.16:.1f} s); cut the sound first.")
    return log_mel.cpu()
