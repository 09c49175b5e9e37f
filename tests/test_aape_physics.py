"""What the SBLU answers to, measured by ``examples/aape_physics.py``."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from aasp_features import AaSPConfig
from aasp_features.model.patch_embed import build_patch_embed


@pytest.fixture(scope="module")
def physics() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "examples" / "aape_physics.py"
    spec = importlib.util.spec_from_file_location("aape_physics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("alpha", [2.0, 10.0, 30.0])
def test_a_state_answers_most_near_its_frequency(physics: ModuleType, alpha: float) -> None:
    assert max(abs(physics.tuning_error(omega, alpha, "quadrature")) for omega in range(8, 45, 4)) <= 1.0


def test_the_quadrature_modulus_is_stable_under_shifts(physics: ModuleType) -> None:
    for frequency in (6, 10, 20, 35, 45):
        assert physics.shift_stability(frequency, "quadrature") > 0.85
    # 16 frames are too few at the band's edges, and a kernel that is even in time has phases without an answer.
    assert physics.shift_stability(3.2, "quadrature") < 0.6
    assert physics.shift_stability(48, "quadrature") < 0.6
    assert max(physics.shift_stability(frequency, "even") for frequency in (5, 10, 20, 35, 45)) < 0.1


def test_aliases_are_told_apart_by_the_modulus_only(physics: ModuleType) -> None:
    for frequency, alias in physics.ALIASES:
        ratio = (alias - frequency) / physics.PATCH_RATE, (alias + frequency) / physics.PATCH_RATE
        assert any(share == pytest.approx(round(share)) for share in ratio)
        for features in ("linear", "complex"):
            assert physics.alias_probe(frequency, alias, features) == pytest.approx(0.5, abs=0.06)
        assert physics.alias_probe(frequency, alias, "modulus") > 0.99


def test_the_probe_is_at_chance_where_there_is_nothing_to_tell(physics: ModuleType) -> None:
    assert physics.alias_probe(1.0, 1.0, "modulus") == pytest.approx(0.5, abs=0.06)


def test_only_aliases_hide_in_the_sequence_of_a_linear_feature(physics: ModuleType) -> None:
    """The control: linear means vanish for any two modulations, so chance there says nothing about aliasing."""
    for frequency, alias in physics.ALIASES:
        assert physics.alias_probe(frequency, alias, "sequence") == pytest.approx(0.5, abs=0.06)
    for frequency, other in physics.NOT_ALIASES:
        assert physics.alias_probe(frequency, other, "linear") == pytest.approx(0.5, abs=0.06)
        assert physics.alias_probe(frequency, other, "sequence") > 0.99
        assert physics.alias_probe(frequency, other, "modulus") > 0.99


@pytest.mark.parametrize("kernel", ["quadrature", "even", "one_sided"])
def test_the_embedding_answers_as_measured_here(physics: ModuleType, kernel: str) -> None:
    """A sinusoid added to a log-mel: AaPE's own modulus features are |B| times what the example measures."""
    torch.manual_seed(0)
    module = build_patch_embed(AaSPConfig.tiny(kernel=kernel, features="modulus"))
    torch.nn.init.zeros_(module.lambda_encoder.logits.weight)  # ω and α no longer depend on the patch
    seen = []
    module.fusion.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].detach().numpy()))
    column, row, band, amplitude = 2, 3, 5, 2.0
    for frequency, phase in ((5.0, 0.3), (10.0, 2.0), (31.0, 4.0)):
        wave = torch.cos(2 * torch.pi * frequency * 0.01 * (torch.arange(80) - 16 * column) + phase)
        log_mel = torch.full((1, 80, 128), -1.3)
        log_mel[0, :, 16 * row + band] += amplitude * wave
        module(log_mel)
        omegas = 3.125 + 46.875 * (np.arange(16) + 0.5) / 16
        patch = physics.patches(np.array(frequency), np.array(phase))
        size = np.array([abs(physics.answer(patch, omega, 120**0.5, kernel)) for omega in omegas])
        expected = np.hypot(amplitude * np.abs(module.input_map.weight[:, band].detach().numpy()) * size, 1e-4)
        np.testing.assert_allclose(seen.pop()[0, column, row], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("frequency", [0.5, 3.2, 4.0, 9.0, 10.0, 12.5, 45.0])
def test_an_alias_is_the_same_from_patch_to_patch(physics: ModuleType, frequency: float) -> None:
    alias = physics.alias_of(frequency)
    starts = np.arange(50) / physics.PATCH_RATE
    np.testing.assert_allclose(np.cos(2 * np.pi * alias * starts), np.cos(2 * np.pi * frequency * starts), atol=1e-9)
    assert 0 <= alias <= 3.125


def test_figures_are_drawn(physics: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    physics.draw(tmp_path)
    drawn = {path.stem for path in tmp_path.iterdir()}
    assert drawn == {"patches_alias", "tuning", "shift_stability", "sensitivity"}
    physics.print_tables()
    assert "100 %" in capsys.readouterr().out
    assert np.isfinite(physics.sensitivity(20.0, "quadrature"))
