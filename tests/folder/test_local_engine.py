"""Whatever does the batches, the bytes are the same."""

from pathlib import Path

import pytest
from engine_runs import FRAMES, embed, written

from aasp_features import AaSPEncoder
from aasp_features.folder import Discovery
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions

pytestmark = pytest.mark.usefixtures("small_batches")


@pytest.mark.parametrize("options", [RunOptions(), FRAMES], ids=["clips", "frames"])
def test_two_devices_give_the_bytes_of_one(
    small_encoder: AaSPEncoder, corpus: list[Path], tmp_path: Path, options: RunOptions
) -> None:
    embed(small_encoder, corpus, tmp_path / "one", options)
    for devices in (2, 3):
        result = embed(LocalEngine([small_encoder] * devices, 4), corpus, tmp_path / f"{devices}", options)
        assert (result.rows > 0, result.failures) == (True, 1)
        assert written(tmp_path / f"{devices}") == written(tmp_path / "one")


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("options", [RunOptions(), FRAMES], ids=["clips", "frames"])
def test_devices_share_sounds_of_many_parts(
    small_encoder: AaSPEncoder, long_sounds: Discovery, tmp_path: Path, options: RunOptions
) -> None:
    corpus = [sound.path for sound in long_sounds.sounds]
    embed(small_encoder, corpus, tmp_path / "one", options)
    result = embed(LocalEngine([small_encoder] * 2, 4), corpus, tmp_path / "two", options)
    assert (result.rows > 0, result.failures) == (True, 1)
    assert written(tmp_path / "two") == written(tmp_path / "one")


def test_a_failing_device_ends_the_run_with_its_error(
    small_encoder: AaSPEncoder, corpus: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = AaSPEncoder(small_encoder.config)
    monkeypatch.setattr(other.network, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("device lost")))
    with pytest.raises(RuntimeError, match="device lost"):
        embed(LocalEngine([small_encoder, other]), corpus, tmp_path / "run", RunOptions())
    embed(small_encoder, corpus, tmp_path / "run", RunOptions())
    embed(small_encoder, corpus, tmp_path / "whole", RunOptions())
    assert written(tmp_path / "run") == written(tmp_path / "whole")
