"""Log-mel -> tokens: plain 16 x 16 patches, low-passed patches, or the aliasing-aware embedding AaPE.

All variants share one interface: ``(batch, frames, mels) -> (batch, columns, rows, dim)``, where a column is 16
frames, a row 16 mel bands, and frames past a row's length (zeros) count for nothing.

Cutting a spectrogram into 16-frame patches samples modulations at 6.25 Hz, so those above 3.125 Hz alias. AaPE
(paper, section on the aliasing-aware patch embedding) describes just that band: each patch's own frequencies ω and
decays α are estimated (Lambda Encoder), the patch is correlated with complex sinusoids at them (SBLU), and the
result is fused into the plain token (Patch Fusion). Nothing outside the patch is read, so a masked neighbour
cannot leak in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.config import PATCH, AaSPConfig
from aasp_features.model.log_mel import length_mask
from aasp_features.model.sblu import sblu

OMEGA_RANGE = (
    2 * math.pi * 3.125,
    2 * math.pi * 50.0,
)  # rad/s: Nyquist after patching … Nyquist of the frames
ALPHA_RANGE = (2.0, 60.0)  # 1/s
LOGIT_LIMIT = 8.0  # keeps ω and α strictly inside their ranges in float32
INPUT_LIMIT = 100.0  # standard deviations; keeps the alias branch finite for any finite log-mel
MODULUS_EPSILON = 1e-8  # squared; |y| of an audible modulation is near 0.1


def build_patch_embed(config: AaSPConfig) -> PatchEmbed:
    """The patch embedding that ``config.patch_embed`` names."""
    return {"conv": PatchEmbed, "lowpass": LowpassPatchEmbed, "aape": AaPE}[config.patch_embed](config)


def split_patches(log_mel: Tensor) -> Tensor:
    """(batch, frames, mels) -> (batch, columns, rows, 16 frames, 16 mels); frames are padded with zeros at the end."""
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
        """Tokens (batch, columns, rows, dim) of a log-mel (batch, frames, mels).

        Args:
            log_mel: standardised; zeros past each row's length.
            frame_lengths: (batch,) valid frames; None when all are.
        """
        return self.plain(split_patches(log_mel).flatten(-2))  # type: ignore[no-any-return]


class LowpassPatchEmbed(PatchEmbed):
    """``lowpass``: modulations above the cutoff are removed along time before patches are cut.

    A Hamming-windowed sinc of at least 49 taps, fixed, in each mel band. A filter inside one patch would be no fair
    comparison: 16 frames leave it about one degree of freedom.
    """

    taps: Tensor
    reads_neighbours = True

    def __init__(self, config: AaSPConfig) -> None:
        super().__init__(config)
        self.register_buffer("taps", lowpass_taps(config.lowpass_cutoff, config.lowpass_taps), persistent=False)

    def forward(self, log_mel: Tensor, frame_lengths: Tensor | None = None) -> Tensor:
        """See ``PatchEmbed.forward``; what lies past the valid frames stays zero."""
        batch, length, mels = log_mel.shape
        rows = log_mel.transpose(1, 2).reshape(batch * mels, 1, length)
        kernel = self.taps.to(rows.dtype)[None, None]
        filtered = functional.conv1d(rows, kernel, padding=kernel.shape[-1] // 2)
        log_mel = filtered.view(batch, mels, length).transpose(1, 2)
        if frame_lengths is not None:
            log_mel = log_mel * length_mask(frame_lengths, length)[..., None]
        return super().forward(log_mel)


class AaPE(PatchEmbed):
    """``aape``: the plain token plus what the SBLU finds in the band that aliases."""

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
        """See ``PatchEmbed.forward``; the alias branch is computed in float32 under autocast."""
        patches = split_patches(log_mel)  # (batch, columns, rows, 16 frames, 16 mels)
        tokens = self.plain(patches.flatten(-2))
        with torch.autocast(log_mel.device.type, enabled=False):
            patches = patches.to(self.input_map.weight.dtype).clamp(-INPUT_LIMIT, INPUT_LIMIT)
            alpha, omega = self.lambda_encoder(patches.flatten(-2))
            if frame_lengths is None and log_mel.shape[1] % PATCH:  # the last column holds padding
                frame_lengths = torch.full((len(log_mel),), log_mel.shape[1], device=log_mel.device)
            u = self.input_map(self._without_mean(patches, frame_lengths))  # (batch, columns, rows, 16, states)
            features = self._features(*sblu(u, alpha, omega, self.kernel))
            alias = self.fusion(features)
        return tokens + alias  # type: ignore[no-any-return]

    def rates(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """α in 1/s and ω in rad/s of every patch, each (batch, columns, rows, states): what was estimated where."""
        with torch.autocast(log_mel.device.type, enabled=False):
            patches = split_patches(log_mel).to(self.input_map.weight.dtype)
            return self.lambda_encoder(patches.flatten(-2))  # type: ignore[no-any-return]

    def moduli(self, log_mel: Tensor) -> Tensor:
        """|y| of every state of every patch, (batch, columns, rows, states): how strongly each answers."""
        with torch.autocast(log_mel.device.type, enabled=False):
            patches = split_patches(log_mel).to(self.input_map.weight.dtype)
            frame_lengths = torch.full((log_mel.shape[0],), log_mel.shape[1], device=log_mel.device)
            u = self.input_map(self._without_mean(patches, frame_lengths))
            alpha, omega = self.lambda_encoder(patches.flatten(-2))
            return torch.hypot(*sblu(u, alpha, omega, self.kernel))

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
        """C y for a complex matrix C = P + iQ; the weight stacks P on Q."""
        real_p, real_q = self.output_map(real).chunk(2, dim=-1)
        imaginary_p, imaginary_q = self.output_map(imaginary).chunk(2, dim=-1)
        return torch.cat([real_p - imaginary_q, real_q + imaginary_p], dim=-1)


class LambdaEncoder(nn.Module):
    """A patch -> its decays α and angular frequencies ω, one pair for each state.

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
        """(…, rows, 256) -> α in 1/s and ω in rad/s, each (…, rows, states), strictly inside their ranges."""
        hidden = functional.gelu(self.hidden(patches.clamp(-INPUT_LIMIT, INPUT_LIMIT)))
        alpha, omega = self.logits(hidden).chunk(2, dim=-1)
        alpha = torch.sigmoid((alpha + self.alpha_offset).clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        omega = torch.sigmoid((omega + self.omega_offset).clamp(-LOGIT_LIMIT, LOGIT_LIMIT))
        low, high = ALPHA_RANGE
        omega_low, omega_high = OMEGA_RANGE
        return low * torch.exp(math.log(high / low) * alpha), omega_low + (omega_high - omega_low) * omega


class PatchFusion(nn.Module):
    """SBLU features -> something to add to the plain token: LayerNorm, then a linear map."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, eps=1e-6)
        self.linear = nn.Linear(features, dim)

    def forward(self, features: Tensor) -> Tensor:
        """(…, features) -> (…, dim)."""
        return self.linear(self.norm(features))  # type: ignore[no-any-return]


def lowpass_taps(cutoff: float, count: int) -> Tensor:
    """Hamming-windowed sinc, (count,) float32, unit gain at 0 Hz; ``cutoff`` in Hz of modulation (frames at 100 Hz)."""
    position = torch.arange(count, dtype=torch.float64) - (count - 1) / 2
    taps = torch.sinc(2 * cutoff / 100.0 * position) * torch.hamming_window(count, periodic=False, dtype=torch.float64)
    return (taps / taps.sum()).float()
