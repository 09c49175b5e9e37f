"""Log-mel → tokens: plain 16 x 16 patches, low-passed patches, or the aliasing-aware embedding AaPE.

All variants map ``(batch, frames, mels)`` to ``(batch, columns, rows, dim)``. A column is 16 frames, a row 16 mel
bands. Frames past a row's length (zeros) count for nothing.

Cutting a spectrogram into 16-frame patches samples modulations at 6.25 Hz, so those above 3.125 Hz alias. AaPE
(paper, section on the aliasing-aware patch embedding) describes that band in three steps. The Lambda Encoder estimates
frequencies ω and decays α of each patch. The structured bilateral Laplace unit (SBLU) correlates the patch with complex
sinusoids at them. Patch Fusion adds the result to the plain token. Nothing outside the patch is read, so a masked
neighbour cannot leak in. The SBLU is equation (1), here in real arithmetic:

    y_s = 2 Λ_s⁻¹ sinh(Δ Λ_s / 2) Σ_k κ_s(k - c) u_s[k],    Λ = α + iω,  k = 0 … K-1,  c = (K - 1) / 2

K = 16 is even, so the distances |k - c| are j + ½ with j = 0 … 7.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.config import FRAME_HOP, PATCH, AaSPConfig, Kernel
from aasp_features.model.log_mel import length_mask
from aasp_features.model.transformer import autocast_type

FRAME_SECONDS = FRAME_HOP / 16000  # Δ: 10 ms
OMEGA_RANGE = 2 * math.pi * 3.125, 2 * math.pi * 50.0  # rad/s: Nyquist after patching … Nyquist of the frames
ALPHA_RANGE = (2.0, 60.0)  # 1/s
LOGIT_LIMIT = 8.0  # keeps ω and α strictly inside their ranges in float32
INPUT_LIMIT = 100.0  # standard deviations; keeps the alias branch finite for any finite log-mel
MODULUS_EPSILON = 1e-8  # squared; |y| of an audible modulation is near 0.1
SERIES_BELOW = 1e-2  # |z| under which sinh(z) / z is summed as a series: its next term is below 1e-16


def build_patch_embed(config: AaSPConfig) -> PatchEmbed:
    """Build the patch embedding that ``config.patch_embed`` names."""
    return {"conv": PatchEmbed, "lowpass": LowpassPatchEmbed, "aape": AaPE}[config.patch_embed](config)


def split_patches(log_mel: Tensor) -> Tensor:
    """Cut (batch, frames, mels), padded with zeros at the end, into (batch, columns, rows, 16 frames, 16 mels)."""
    batch, frames, mels = log_mel.shape
    log_mel = functional.pad(log_mel, (0, 0, 0, -frames % PATCH))
    grid = log_mel.view(batch, -1, PATCH, mels // PATCH, PATCH)  # (batch, columns, 16, rows, 16)
    return grid.transpose(2, 3)


class PatchEmbed(nn.Module):
    """``conv``: a linear map of the 256 values of each patch.

    Attributes:
        reads_neighbours: whether a token depends on frames outside its patch.
    """

    reads_neighbours = False

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__()
        self.plain = nn.Linear(PATCH * PATCH, config.dim)

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """Return tokens, (batch, columns, rows, dim).

        Args:
            log_mel: (batch, frames, mels), standardised; zeros past each row's length.
            frame_lengths: (batch,) valid frames; None when all are.
        """
        return self.plain(split_patches(log_mel).flatten(-2))  # type: ignore[no-any-return]


class LowpassPatchEmbed(PatchEmbed):
    """``lowpass``: a fixed filter along time removes modulations above the cutoff before patches are cut.

    It is a Hamming-windowed sinc of at least 49 taps in each mel band. A filter inside one patch would be no fair
    comparison, because 16 frames leave it about one degree of freedom.
    """

    taps: Tensor
    reads_neighbours = True

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__(config)
        self.register_buffer("taps", lowpass_taps(config.lowpass_cutoff, config.lowpass_taps), persistent=False)

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """Return tokens, as ``PatchEmbed.forward``; frames past the valid ones stay zero."""
        batch, length, mels = log_mel.shape
        rows = log_mel.transpose(1, 2).reshape(batch * mels, 1, length)
        kernel = self.taps.to(rows.dtype)[None, None]
        filtered = functional.conv1d(rows, kernel, padding=kernel.shape[-1] // 2)
        log_mel = filtered.view(batch, mels, length).transpose(1, 2)
        if frame_lengths is not None:
            log_mel = log_mel * length_mask(frame_lengths, length)[..., None]
        return super().forward(log_mel)


class AaPE(PatchEmbed):
    """``aape``: the plain token plus features of the band that aliases."""

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__(config)
        self.kernel, self.features, self.remove_mean = config.kernel, config.features, config.remove_mean
        states = config.states
        self.lambda_encoder = LambdaEncoder(config)
        self.input_map = nn.Linear(PATCH, states, bias=False)  # B, shared by all rows
        if self.features != "modulus":
            self.output_map = nn.Linear(states, 2 * states, bias=False)  # C, real part over imaginary part
        self.fusion = PatchFusion({"complex": 2, "modulus": 1, "both": 3}[self.features] * states, config.dim)

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """Return tokens, as ``PatchEmbed.forward``; the alias branch is computed in float32 under autocast."""
        patches = split_patches(log_mel)  # (batch, columns, rows, 16 frames, 16 mels)
        tokens = self.plain(patches.flatten(-2))
        if frame_lengths is None and log_mel.shape[1] % PATCH:  # the last column holds padding
            frame_lengths = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
        with torch.autocast(autocast_type(log_mel.device), enabled=False):
            alias = self.fusion(self._features(*self._states(patches, frame_lengths)))
        return tokens + alias  # type: ignore[no-any-return]

    def rates(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the estimates α in 1/s and ω in rad/s of every patch, each (batch, columns, rows, states)."""
        with torch.autocast(autocast_type(log_mel.device), enabled=False):
            patches = split_patches(log_mel).to(self.input_map.weight.dtype)
            return self.lambda_encoder(patches.flatten(-2))  # type: ignore[no-any-return]

    def moduli(self, log_mel: Tensor) -> Tensor:
        """Return |y| of every state of every patch, (batch, columns, rows, states): how strongly each responds."""
        frame_lengths = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
        with torch.autocast(autocast_type(log_mel.device), enabled=False):
            return torch.hypot(*self._states(split_patches(log_mel), frame_lengths))

    def _states(self, patches: Tensor, frame_lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return real and imaginary part of y, each (batch, columns, rows, states), by equation (1) in float32."""
        patches = patches.to(dtype := self.input_map.weight.dtype).clamp(-INPUT_LIMIT, INPUT_LIMIT)
        alpha, omega = self.lambda_encoder(patches.flatten(-2))
        u = self.input_map(self._without_mean(patches, frame_lengths))  # (batch, columns, rows, 16, states)
        real, imaginary = sblu(u.to(alpha.dtype), alpha, omega, self.kernel)
        return real.to(dtype), imaginary.to(dtype)

    def _without_mean(self, patches: Tensor, frame_lengths: Tensor | None) -> Tensor:
        if not self.remove_mean:
            return patches
        if frame_lengths is None:
            return patches - patches.mean(dim=-2, keepdim=True)
        columns = patches.shape[1]
        valid = length_mask(frame_lengths, columns * PATCH).view(-1, columns, 1, PATCH, 1).to(patches.dtype)
        mean = (patches * valid).sum(-2, keepdim=True) / valid.sum(-2, keepdim=True).clamp(min=1)
        return (patches - mean) * valid

    def _features(self, real: Tensor, imaginary: Tensor) -> Tensor:
        parts = []
        if self.features != "modulus":
            parts.append(self._complex_map(real, imaginary))
        if self.features != "complex":
            parts.append((real.square() + imaginary.square() + MODULUS_EPSILON).sqrt())
        return torch.cat(parts, dim=-1)

    def _complex_map(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Return C y for a complex matrix C = P + iQ; the weight stacks P on Q."""
        real_p, real_q = self.output_map(real).chunk(2, dim=-1)
        imaginary_p, imaginary_q = self.output_map(imaginary).chunk(2, dim=-1)
        return torch.cat([real_p - imaginary_q, real_q + imaginary_p], dim=-1)


class LambdaEncoder(nn.Module):
    """Estimates of a patch's decays α and angular frequencies ω, one pair for each state.

    Frequencies start spread evenly over the band: the offset of state s is logit((s + ½) / S), in every row.
    """

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__()
        states = config.states
        self.hidden = nn.Linear(PATCH * PATCH, config.lambda_hidden)
        self.logits = nn.Linear(config.lambda_hidden, 2 * states, bias=False)
        spread = torch.logit((torch.arange(states) + 0.5) / states)
        self.omega_offset = nn.Parameter(spread.repeat(config.rows, 1))  # (rows, states)
        self.alpha_offset = nn.Parameter(torch.zeros(config.rows, states))

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return α in 1/s and ω in rad/s of patches (…, rows, 256), each (…, rows, states), inside their ranges."""
        hidden = functional.gelu(self.hidden(patches.clamp(-INPUT_LIMIT, INPUT_LIMIT)))
        logits = self.logits(hidden)
        alpha, omega = logits.to(torch.promote_types(logits.dtype, torch.float32)).chunk(2, dim=-1)
        alpha = torch.sigmoid((alpha + self.alpha_offset).clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        omega = torch.sigmoid((omega + self.omega_offset).clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        low, high = ALPHA_RANGE
        omega_low, omega_high = OMEGA_RANGE
        return low * torch.exp(math.log(high / low) * alpha), omega_low + (omega_high - omega_low) * omega


class PatchFusion(nn.Module):
    """LayerNorm and a linear map from SBLU features to the part that is added to the plain token."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.linear = nn.Linear(features, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Map (…, features) to (…, dim)."""
        return self.linear(self.norm(features))  # type: ignore[no-any-return]


def sblu(u: Tensor, alpha: Tensor, omega: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Compute equation (1) of the module; left and right halves are folded first, which halves the taps.

    Args:
        u: (..., K, S) real inputs, K even.
        alpha: (..., S) decay in 1/s, at least 0.
        omega: (..., S) angular frequency in rad/s.
        kernel: ``quadrature``: e^(-αΔ|m|) e^(-iωΔm), a complex sinusoid under a two-sided exponential window;
            ``even``: e^(-ΔΛ|m|), the equation as printed; ``one_sided``: e^(-ΔΛ(K-1-k)), a causal state-space unit.

    Returns:
        Real and imaginary part of y, each (..., S), in u's dtype.
    """
    taps = u.shape[-2]
    if kernel == "one_sided":
        distance = _tap_steps(u, taps, start=0.0).flip(0)  # K - 1 - k
        cosine, sine = _windowed_sinusoid(distance, alpha, omega)
        return _prefactor(alpha, omega, (u * cosine).sum(-2), -(u * sine).sum(-2))
    left, right = u[..., : taps // 2, :].flip(-2), u[..., taps // 2 :, :]
    cosine, sine = _windowed_sinusoid(_tap_steps(u, taps // 2, start=0.5), alpha, omega)
    real = ((right + left) * cosine).sum(-2)
    # e^(-iωΔm) is odd in its imaginary part under `quadrature`, and even under `even`.
    folded = right - left if kernel == "quadrature" else right + left
    return _prefactor(alpha, omega, real, -(folded * sine).sum(-2))


def sinhc(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Compute sinh(z) / z for z = real + i imaginary; near 0 a series, so that it is differentiable everywhere."""
    squared_real = real.square() - imaginary.square()  # z²
    squared_imaginary = 2 * real * imaginary
    size = real.square() + imaginary.square()  # |z|²
    near = size < SERIES_BELOW**2
    size = torch.where(near, torch.ones_like(size), size)
    sinh_real = torch.sinh(real) * torch.cos(imaginary)
    sinh_imaginary = torch.cosh(real) * torch.sin(imaginary)
    far_real = (sinh_real * real + sinh_imaginary * imaginary) / size
    far_imaginary = (sinh_imaginary * real - sinh_real * imaginary) / size
    # 1 + z²/6 (1 + z²/20 (1 + z²/42))
    term_real, term_imaginary = 1 + squared_real / 42, squared_imaginary / 42
    for divisor in (20.0, 6.0):
        term_real, term_imaginary = (
            1 + (squared_real * term_real - squared_imaginary * term_imaginary) / divisor,
            (squared_real * term_imaginary + squared_imaginary * term_real) / divisor,
        )
    return torch.where(near, term_real, far_real), torch.where(near, term_imaginary, far_imaginary)


def _tap_steps(like: Tensor, count: int, start: float) -> Tensor:
    return torch.arange(count, dtype=like.dtype, device=like.device)[:, None] + start  # (count, 1)


def _windowed_sinusoid(distance: Tensor, alpha: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
    """Compute e^(-αΔd) cos(ωΔd) and e^(-αΔd) sin(ωΔd), each (..., taps, S)."""
    window = torch.exp(-FRAME_SECONDS * alpha[..., None, :] * distance)
    phase = FRAME_SECONDS * omega[..., None, :] * distance
    return window * torch.cos(phase), window * torch.sin(phase)


def _prefactor(alpha: Tensor, omega: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply by 2 Λ⁻¹ sinh(ΔΛ/2) = Δ sinhc(ΔΛ/2)."""
    half_step = FRAME_SECONDS / 2
    scale_real, scale_imaginary = sinhc(half_step * alpha, half_step * omega)
    return (
        FRAME_SECONDS * (scale_real * real - scale_imaginary * imaginary),
        FRAME_SECONDS * (scale_real * imaginary + scale_imaginary * real),
    )


def lowpass_taps(cutoff: float, count: int) -> Tensor:
    """Return a Hamming-windowed sinc, (count,) float32, with unit gain at 0 Hz; ``cutoff`` is in Hz of modulation."""
    position = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    taps = torch.sinc(2 * cutoff / 100.0 * position) * torch.hamming_window(count, periodic=False, dtype=torch.float64)
    return (taps / taps.sum()).float()
