"""Equation (1): fast form, plain form, and a loop over the equation in complex numpy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.model.sblu import FRAME_SECONDS, SERIES_BELOW, sblu, sblu_plain, sinhc

KERNELS = ["quadrature", "even", "one_sided"]


def draw(taps: int = 16, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(seed)
    u = torch.randn(3, 2, taps, 5, generator=rng, dtype=dtype)
    alpha = 2 + 58 * torch.rand(3, 2, 5, generator=rng, dtype=dtype)
    omega = 2 * np.pi * (3.125 + 46.875 * torch.rand(3, 2, 5, generator=rng, dtype=dtype))
    return u, alpha, omega


def equation(u: np.ndarray, alpha: float, omega: float, kernel: str) -> complex:
    """One state, term by term."""
    rate, total, taps = alpha + 1j * omega, 0j, len(u)
    for k in range(taps):
        m = k - (taps - 1) / 2
        if kernel == "quadrature":
            value = np.exp(-alpha * 0.01 * abs(m)) * np.exp(-1j * omega * 0.01 * m)
        elif kernel == "even":
            value = np.exp(-0.01 * rate * abs(m))
        else:
            value = np.exp(-0.01 * rate * (taps - 1 - k))
        total += value * u[k]
    return 2 / rate * np.sinh(0.01 * rate / 2) * total


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("form", [sblu, sblu_plain])
@pytest.mark.parametrize("taps", [16, 2, 6, 32])
def test_forms_equal_the_equation(kernel: str, form: object, taps: int) -> None:
    u, alpha, omega = draw(taps, torch.float64)
    real, imaginary = form(u, alpha, omega, kernel)
    for place in np.ndindex(3, 2, 5):
        expected = equation(
            u[place[0], place[1], :, place[2]].numpy(), alpha[place].item(), omega[place].item(), kernel
        )
        assert complex(real[place], imaginary[place]) == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("kernel", KERNELS)
def test_fast_equals_plain_in_value_and_gradient(kernel: str) -> None:
    for seed in range(20):
        outcomes = []
        for form in (sblu, sblu_plain):
            inputs = [part.requires_grad_(True) for part in draw(seed=seed)]
            real, imaginary = form(*inputs, kernel)
            (real.sin() + imaginary.cos()).sum().backward()
            outcomes.append([real, imaginary, *(part.grad for part in inputs)])
        for fast, plain in zip(*outcomes, strict=True):
            torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("form", [sblu, sblu_plain])
@pytest.mark.parametrize("taps", [6, 16])
def test_gradcheck(kernel: str, form: object, taps: int) -> None:
    u, alpha, omega = (part[:1, :1, ..., :3].contiguous() for part in draw(taps, torch.float64))
    inputs = [part.requires_grad_(True) for part in (u, alpha, omega)]
    assert torch.autograd.gradcheck(lambda *parts: torch.cat(form(*parts, kernel)), inputs)


@settings(deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_sinhc_equals_numpy(real: float, imaginary: float) -> None:
    z = complex(real, imaginary)
    expected = np.sinh(z) / z if abs(z) > 1e-6 else 1 + z * z / 6
    parts = sinhc(torch.tensor(real, dtype=torch.float64), torch.tensor(imaginary, dtype=torch.float64))
    assert complex(*parts) == pytest.approx(expected, rel=1e-12, abs=1e-14)


@settings(deadline=None)
@given(st.floats(-14, 0.5), st.floats(0, 2 * np.pi))
def test_sinhc_near_zero_equals_forty_digits(exponent: float, angle: float) -> None:
    mpmath = pytest.importorskip("mpmath", reason="mpmath is not installed")
    z = 10**exponent * np.exp(1j * angle)
    with mpmath.workdps(40):
        expected = complex(mpmath.sinh(mpmath.mpc(z)) / mpmath.mpc(z))
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 2e-6)):
        parts = sinhc(torch.tensor(z.real, dtype=dtype), torch.tensor(z.imag, dtype=dtype))
        assert abs(complex(*parts) - expected) <= tolerance * abs(expected)


def test_sinhc_is_smooth_where_the_series_takes_over() -> None:
    size = torch.tensor([SERIES_BELOW * (1 - 1e-9), SERIES_BELOW * (1 + 1e-9)], dtype=torch.float64)
    for angle in (0.0, 0.7, 1.5):
        z = [(size * np.cos(angle)).requires_grad_(True), (size * np.sin(angle)).requires_grad_(True)]
        parts = sinhc(*z)
        slopes = [slope for part in parts for slope in torch.autograd.grad(part.sum(), z, retain_graph=True)]
        for values in (*parts, *slopes):
            assert (values[1] - values[0]).abs() < 1e-10


@pytest.mark.parametrize("kernel", KERNELS)
def test_rate_zero_is_the_plain_sum(kernel: str) -> None:
    """Λ → 0: every kernel becomes 1 and the prefactor Δ; value and gradient stay finite."""
    u = torch.randn(16, 5, dtype=torch.float64)
    alpha, omega = (torch.zeros(5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    real, imaginary = sblu(u, alpha, omega, kernel)
    torch.testing.assert_close(real, FRAME_SECONDS * u.sum(dim=0))
    torch.testing.assert_close(imaginary, torch.zeros_like(imaginary))
    real.sum().backward(retain_graph=True)
    position = torch.arange(16, dtype=torch.float64)[:, None] - 7.5
    distance = 7.5 - position if kernel == "one_sided" else position.abs()
    slope = -(FRAME_SECONDS**2) * (distance * u).sum(dim=0)  # of Δ Σ (1 - αΔ distance) u, to first order in α
    torch.testing.assert_close(alpha.grad, slope)
    torch.testing.assert_close(omega.grad, torch.zeros_like(omega))
    imaginary.sum().backward()
    phase = position if kernel == "quadrature" else distance
    torch.testing.assert_close(omega.grad, -(FRAME_SECONDS**2) * (phase * u).sum(dim=0))
