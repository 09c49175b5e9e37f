"""The structured bilateral Laplace unit (SBLU), equation (1) of AaSP, in real arithmetic.

    y_s = 2 Λ_s⁻¹ sinh(Δ Λ_s / 2) Σ_k κ_s(k - c) u_s[k],    Λ = α + iω,  k = 0 … K-1,  c = (K - 1) / 2

K = 16 is even, so the distances |k - c| are j + ½ with j = 0 … 7. ``sblu`` is the fast form: left and right
halves are folded first, which halves the taps. ``sblu_plain`` writes the kernel out and is the reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aasp_features.config import FRAME_HOP, Kernel

FRAME_SECONDS = FRAME_HOP / 16000  # Δ: 10 ms
SERIES_BELOW = 1e-2  # |z| under which sinh(z) / z is summed as a series: its next term is below 1e-16


def sblu(u: Tensor, alpha: Tensor, omega: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Equation (1), fast form.

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
        distance = _steps(u, taps, start=0.0).flip(0)  # K - 1 - k
        cosine, sine = _windowed_sinusoid(distance, alpha, omega)
        return _scale(alpha, omega, (u * cosine).sum(-2), -(u * sine).sum(-2))
    left, right = u[..., : taps // 2, :].flip(-2), u[..., taps // 2 :, :]
    cosine, sine = _windowed_sinusoid(_steps(u, taps // 2, start=0.5), alpha, omega)
    real = ((right + left) * cosine).sum(-2)
    # e^(-iωΔm) is odd in its imaginary part under `quadrature`, and even under `even`.
    folded = right - left if kernel == "quadrature" else right + left
    return _scale(alpha, omega, real, -(folded * sine).sum(-2))


def sblu_plain(u: Tensor, alpha: Tensor, omega: Tensor, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Equation (1) as it stands: the kernel written out over all K taps, in complex numbers.

    Slower; same arguments and results as ``sblu``.
    """
    rate = torch.complex(alpha, omega)  # Λ, (..., S)
    taps = u.shape[-2]
    position = torch.arange(taps, dtype=u.dtype, device=u.device)[:, None] - (taps - 1) / 2  # k - c, (K, 1)
    if kernel == "quadrature":
        window = torch.exp(-alpha[..., None, :] * FRAME_SECONDS * position.abs())
        values = window * torch.exp(-1j * omega[..., None, :] * FRAME_SECONDS * position)
    elif kernel == "even":
        values = torch.exp(-FRAME_SECONDS * rate[..., None, :] * position.abs())
    else:
        values = torch.exp(-FRAME_SECONDS * rate[..., None, :] * ((taps - 1) / 2 - position))
    y = 2 / rate * torch.sinh(FRAME_SECONDS * rate / 2) * (values * u).sum(-2)
    return y.real, y.imag


def sinhc(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """sinh(z) / z for z = real + i imaginary, differentiable everywhere: a series takes over near 0."""
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


def _steps(like: Tensor, count: int, start: float) -> Tensor:
    return torch.arange(count, dtype=like.dtype, device=like.device)[:, None] + start  # (count, 1)


def _windowed_sinusoid(distance: Tensor, alpha: Tensor, omega: Tensor) -> tuple[Tensor, Tensor]:
    """e^(-αΔd) cos(ωΔd) and e^(-αΔd) sin(ωΔd), each (..., taps, S)."""
    window = torch.exp(-FRAME_SECONDS * alpha[..., None, :] * distance)
    phase = FRAME_SECONDS * omega[..., None, :] * distance
    return window * torch.cos(phase), window * torch.sin(phase)


def _scale(alpha: Tensor, omega: Tensor, real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply by 2 Λ⁻¹ sinh(ΔΛ/2) = Δ sinhc(ΔΛ/2)."""
    half_step = FRAME_SECONDS / 2
    scale_real, scale_imaginary = sinhc(half_step * alpha, half_step * omega)
    return (
        FRAME_SECONDS * (scale_real * real - scale_imaginary * imaginary),
        FRAME_SECONDS * (scale_real * imaginary + scale_imaginary * real),
    )
