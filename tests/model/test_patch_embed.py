"""The patch embeddings behind their one interface, and equation (1) against loops in complex numbers."""

import math

import numpy as np
import pytest
import torch
from helpers import plain_sblu
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPConfig, LogMel
from aasp_features.model.patch_embed import (
    ALPHA_RANGE,
    FRAME_SECONDS,
    OMEGA_RANGE,
    SERIES_BELOW,
    AaPE,
    LambdaEncoder,
    build_patch_embed,
    lowpass_taps,
    sblu,
    sinhc,
    split_patches,
)

KINDS = ["aape", "conv", "lowpass"]
KERNELS = ["quadrature", "even", "one_sided"]


def build(kind: str = "aape", **changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_patch_embed(AaSPConfig.tiny(patch_embed=kind, **changes))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frames", [1, 16, 17, 100])
def test_shapes(kind: str, frames: int) -> None:
    assert build(kind)(torch.randn(2, frames, 128)).shape == (2, math.ceil(frames / 16), 8, 192)


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
@pytest.mark.parametrize("kind", KINDS)
def test_number_of_parameters(size: str, kind: str) -> None:
    config = getattr(AaSPConfig, size)(patch_embed=kind)
    dim, hidden, states = config.dim, config.lambda_hidden, config.states
    plain = (16 * 16 + 1) * dim
    lambda_encoder = (16 * 16 + 1) * hidden + hidden * 2 * states + 8 * 2 * states
    maps = 16 * states + 2 * states * states  # B and C
    fusion = 2 * 3 * states + (3 * states + 1) * dim
    expected = plain + (lambda_encoder + maps + fusion if kind == "aape" else 0)
    assert sum(parameter.numel() for parameter in build_patch_embed(config).parameters()) == expected


def test_patches_are_what_slicing_gives() -> None:
    log_mel = torch.randn(2, 40, 128)
    patches = split_patches(log_mel)
    assert torch.equal(patches[1, 1, 3], log_mel[1, 16:32, 48:64])
    assert torch.equal(patches[0, 2, 0, :8], log_mel[0, 32:, :16])
    assert patches[0, 2, 0, 8:].abs().sum() == 0


@pytest.mark.parametrize(("kind", "leaks"), [("aape", False), ("conv", False), ("lowpass", True)])
def test_which_frames_a_token_reads(kind: str, leaks: bool) -> None:
    module, log_mel = build(kind), torch.randn(1, 80, 128, requires_grad=True)
    module(log_mel)[0, 2, 3].square().sum().backward()
    outside = log_mel.grad[0].clone()
    outside[32:48, 48:64] = 0
    assert (outside.abs().max() > 0) == leaks == module.reads_neighbours
    assert log_mel.grad[0, 32:48, 48:64].abs().min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_batch_mates_and_padding_do_not_matter(kind: str) -> None:
    module = build(kind)
    log_mel = torch.randn(2, 96, 128)
    log_mel[1, 40:] = 0
    together = module(log_mel, torch.tensor([96, 40]))
    torch.testing.assert_close(together[1, :3], module(log_mel[1:, :40])[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[0], module(log_mel[:1])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(frames=st.integers(1, 90), mate=st.integers(1, 90))
def test_batch_equals_alone_for_any_number_of_frames(kind: str, frames: int, mate: int) -> None:
    module, length = build(kind), max(frames, mate)
    log_mel = torch.randn(2, length, 128)
    log_mel[0, frames:], log_mel[1, mate:] = 0, 0
    together = module(log_mel, torch.tensor([frames, mate]))
    alone = module(log_mel[:1, :frames], torch.tensor([frames]))
    torch.testing.assert_close(together[:1, : alone.shape[1]], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(module(log_mel[:1, :frames]), alone, atol=1e-5, rtol=1e-5)  # None: all are valid


def test_the_temporal_mean_reaches_the_plain_branch_only() -> None:
    """A constant in a mel band moves the plain token linearly; with fixed ω and α the alias branch does not move."""
    module = build()
    torch.nn.init.zeros_(module.lambda_encoder.logits.weight)  # ω and α no longer depend on the patch
    log_mel, frames = torch.randn(1, 40, 128), torch.tensor([40])
    shifted = log_mel + torch.randn(128)
    plain = [module.plain(split_patches(x).flatten(-2)) for x in (log_mel, shifted)]
    alias = [module(x, frames) - y for x, y in zip((log_mel, shifted), plain, strict=True)]
    torch.testing.assert_close(alias[0], alias[1], atol=1e-4, rtol=1e-4)
    assert (plain[0] - plain[1]).abs().max() > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0, -1e30, 1e30, 3e38])
def test_rates_stay_inside_their_bands(value: float) -> None:
    encoder = LambdaEncoder(AaSPConfig.tiny())
    with torch.no_grad():
        encoder.logits.weight.mul_(1e4)
    for patches in (torch.full((2, 8, 256), value), value * torch.randn(2, 8, 256).sign()):
        alpha, omega = encoder(patches)
        assert ((ALPHA_RANGE[0] < alpha) & (alpha < ALPHA_RANGE[1])).all()
        assert ((OMEGA_RANGE[0] < omega) & (omega < OMEGA_RANGE[1])).all()


def test_frequencies_start_spread_over_the_band() -> None:
    torch.manual_seed(0)
    encoder = LambdaEncoder(AaSPConfig.tiny())
    torch.nn.init.zeros_(encoder.logits.weight)
    _, omega = encoder(torch.randn(1, 8, 256))
    expected = 3.125 + 46.875 * (np.arange(16) + 0.5) / 16
    np.testing.assert_allclose(omega[0, 5].detach() / (2 * math.pi), expected, rtol=1e-5)


EXTREMES = {
    **{f"noise at {scale:g}": scale * torch.randn(1, 48, 128) for scale in (0.0, 1.0, 50.0, 1e6, 1e30)},
    "constant 1e30": torch.full((1, 48, 128), 1e30),
    "constant -1e30": torch.full((1, 48, 128), -1e30),
    "silence": LogMel(AaSPConfig())(torch.zeros(1, 8000)),
    "full-scale noise": LogMel(AaSPConfig())(torch.rand(1, 8000) * 2 - 1),
    "full-scale square": LogMel(AaSPConfig())(torch.arange(8000.0).mul(0.2).sin().sign()[None]),
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_values_rates_and_gradients_are_finite(name: str, kernel: str) -> None:
    module, log_mel = build(kernel=kernel), EXTREMES[name].clone().requires_grad_(True)
    for rates, (low, high) in zip(module.rates(log_mel), (ALPHA_RANGE, OMEGA_RANGE), strict=True):
        assert ((low < rates) & (rates < high)).all()
    tokens = module(log_mel)
    assert torch.isfinite(tokens).all()
    tokens.sum().backward()
    assert torch.isfinite(log_mel.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in module.parameters())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("features", ["complex", "modulus", "both"])
def test_every_kernel_and_feature_set_runs(kernel: str, features: str) -> None:
    module = build(kernel=kernel, features=features)
    tokens = module(torch.randn(1, 32, 128))
    tokens.square().sum().backward()
    assert torch.isfinite(tokens).all()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_complex_map_is_a_complex_matrix() -> None:
    module = build()
    weight = module.output_map.weight.detach().numpy().astype(np.complex128)
    matrix = weight[:16] + 1j * weight[16:]
    y = torch.randn(7, 16, dtype=torch.complex64)
    expected = y.numpy() @ matrix.T
    mapped = module._complex_map(y.real.contiguous(), y.imag.contiguous()).detach().numpy()
    np.testing.assert_allclose(mapped, np.concatenate([expected.real, expected.imag], axis=1), atol=1e-5)


def test_alias_branch_is_float32_under_autocast() -> None:
    module, log_mel = build(), torch.randn(2, 64, 128)
    seen = []
    module.fusion.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].detach(), output.detach())))
    module(log_mel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(log_mel)
    (features, alias), (cast_features, cast_alias) = seen
    assert cast_features.dtype == cast_alias.dtype == torch.float32
    torch.testing.assert_close(cast_features, features)
    torch.testing.assert_close(cast_alias, alias)


def test_tokens_under_autocast_are_near_those_in_float32() -> None:
    module, log_mel = build(), torch.randn(2, 64, 128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = module(log_mel)
    torch.testing.assert_close(tokens.float(), module(log_mel), atol=0.05, rtol=0.05)


def test_without_mean_removal_nothing_is_removed() -> None:
    module = build(remove_mean=False)
    assert isinstance(module, AaPE)
    patches = torch.randn(1, 2, 8, 16, 16)
    assert module._without_mean(patches, None) is patches


@pytest.mark.parametrize(("cutoff", "count"), [(3.125, 65), (6.25, 49), (12.5, 101)])
def test_lowpass_response(cutoff: float, count: int) -> None:
    taps = lowpass_taps(cutoff, count).double().numpy()
    frequency = np.linspace(0, 50, 2001)
    gain = np.abs(np.exp(-2j * np.pi * np.outer(frequency / 100, np.arange(count))) @ taps)
    width = 3.3 * 100 / count  # transition of a Hamming window
    assert gain[0] == pytest.approx(1)
    assert gain[np.abs(frequency - cutoff).argmin()] == pytest.approx(0.5, abs=0.05)
    assert gain[frequency > cutoff + width].max() < 10 ** (-40 / 20)


def test_lowpass_removes_what_would_alias_and_keeps_the_rest() -> None:
    """Sinusoids in one mel band: 12 Hz leaves nothing of the token, 0.5 Hz leaves it as ``conv`` has it."""
    lowpass, conv = build("lowpass"), build("conv")
    conv.load_state_dict(lowpass.state_dict())
    bias = conv.plain.bias
    for frequency, kept in ((12.0, 0.0), (0.5, 1.0)):
        log_mel = torch.zeros(1, 320, 128)
        log_mel[..., 40] = torch.sin(2 * math.pi * frequency * 0.01 * torch.arange(320))
        filtered, plain = (module(log_mel)[0, 5:15] - bias for module in (lowpass, conv))
        assert (filtered - kept * plain).abs().max() < 0.02 * plain.abs().max()
        assert filtered[:, [0, 1, 3, 4, 5, 6, 7]].abs().max() < 1e-6  # a mel band stays in its row


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
@pytest.mark.parametrize("form", [sblu, plain_sblu])
@pytest.mark.parametrize("taps", [16, 2, 6])
def test_forms_equal_the_equation(kernel: str, form: object, taps: int) -> None:
    u, alpha, omega = draw(taps, torch.float64)
    real, imaginary = form(u, alpha, omega, kernel)
    for i, j, k in np.ndindex(3, 2, 5):
        expected = equation(u[i, j, :, k].numpy(), alpha[i, j, k].item(), omega[i, j, k].item(), kernel)
        assert complex(real[i, j, k], imaginary[i, j, k]) == pytest.approx(expected, rel=1e-10, abs=1e-14)


@pytest.mark.parametrize("kernel", KERNELS)
def test_fast_equals_plain_in_value_and_gradient(kernel: str) -> None:
    for seed in range(20):
        outcomes = []
        for form in (sblu, plain_sblu):
            inputs = [part.requires_grad_(True) for part in draw(seed=seed)]
            real, imaginary = form(*inputs, kernel)
            (real.sin() + imaginary.cos()).sum().backward()
            outcomes.append([real, imaginary, *(part.grad for part in inputs)])
        for fast, plain in zip(*outcomes, strict=True):
            torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel: str) -> None:
    inputs = [part[:1, :1, ..., :3].contiguous().requires_grad_(True) for part in draw(6, torch.float64)]
    assert torch.autograd.gradcheck(lambda *parts: torch.cat(sblu(*parts, kernel)), inputs)


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
