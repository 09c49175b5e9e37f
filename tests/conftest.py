"""Fixtures and settings that several tests share."""

import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, settings
from warm_process import CONTEXT

from aasp_features import AaSPConfig, AaSPEncoder, list_checkpoints
from aasp_features import checkpoint as loading
from aasp_features.checkpoints import DEFAULT

ROOT = Path(__file__).resolve().parents[1]

# No example has a deadline, and none may be "too slow" to make: on a busy machine any can be.
settings.register_profile("any speed", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow]))
settings.load_profile("any speed")


@pytest.fixture(scope="session")
def sounds() -> Path:
    """The synthesised clips of this repository."""
    return ROOT / "examples" / "sounds"


@pytest.fixture(scope="session")
def shared_audio() -> Path:
    """Real, openly licensed audio, which is not part of the repository."""
    folder = Path(os.environ.get("AASP_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "tasks").is_dir():
        pytest.skip(f"no real audio at {folder}; set AASP_DATA to run this test")
    return folder


@pytest.fixture(scope="session")
def small_encoder() -> AaSPEncoder:
    """Random weights; two narrow blocks, because most of its tests are not of its vectors."""
    torch.manual_seed(0)
    return AaSPEncoder(AaSPConfig.tiny(depth=2, dim=48, name="aasp-test-random-1"))


@pytest.fixture(scope="session")
def checkpoint(small_encoder: AaSPEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``small_encoder`` saved."""
    return small_encoder.save_pretrained(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def shallow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled checkpoints, of which all have the first two blocks of the default's twelve."""
    folder, whole = tmp_path_factory.mktemp("shallow"), AaSPEncoder.from_pretrained()
    for name in list_checkpoints():
        shallow = AaSPEncoder(whole.config.replace(name=name, depth=2))
        shallow.network.load_state_dict(whole.network.state_dict(), strict=False)
        shallow.save_pretrained(folder / name)
    return folder


@pytest.fixture
def plain_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One random block and plain patches under the bundled names: traced for an export in half the time."""
    plain = AaSPEncoder(AaSPConfig.tiny(name=DEFAULT, depth=1, patch_embed="conv"))
    folder = plain.save_pretrained(tmp_path / "plain")
    monkeypatch.setattr(loading, "bundled_folder", lambda name=DEFAULT: folder)


@pytest.fixture
def shallow(shallow_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quick checkpoints under the bundled ones' names, where a test is not of their quality."""
    monkeypatch.setattr(loading, "bundled_folder", lambda name=DEFAULT: shallow_folder / name)


@pytest.fixture(scope="session", autouse=True)
def warm_makers() -> Iterator[None]:
    """Processes that run the teachers are forked from one that has torch, instead of each importing it anew."""
    from aasp_features.train.pretrain import feature_makers

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_makers, "multiprocessing", SimpleNamespace(get_context=lambda _: CONTEXT))
        yield


@pytest.fixture
def few_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear layer that is trained quickly, where its best is not what is asked for."""
    from aasp_features.train.evaluate import linear

    monkeypatch.setattr(linear, "EPOCHS", 60)
    monkeypatch.setattr(linear, "RATES", (3e-3, 3e-2))


@pytest.fixture
def few_modulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading of modulations from a few clips of a few rates."""
    from aasp_features.train.evaluate import stability

    monkeypatch.setattr(stability.read_modulation, "__defaults__", (4, 4))
    monkeypatch.setattr(stability, "RATES", stability.RATES[::6])


@pytest.fixture
def transformers_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' code for audio, which its Trainer imports, without a torchaudio that does not load."""
    utils = pytest.importorskip("transformers.utils.import_utils")
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torchaudio", None)
            utils.is_torchaudio_available.cache_clear()
            importlib.import_module("transformers.audio_utils")


@pytest.fixture
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Chromium by selenium; it fetches nothing."""
    selenium = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver; install chromium and chromium-driver to run this test")
    options = selenium.ChromeOptions()
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "window-size=1200,800"):
        options.add_argument(f"--{flag}")
    for flag in ("disable-background-networking", "disable-component-update", "disable-sync", "mute-audio"):
        options.add_argument(f"--{flag}")
    options.add_argument("--autoplay-policy=no-user-gesture-required")
    opened = selenium.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()
