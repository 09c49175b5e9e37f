"""AaSPConfig: strict JSON, sentences for what is wrong."""

import json

import pytest

from aasp_features import AaSPConfig, __version__
from aasp_features.config import ConfigError


def test_json_round_trip() -> None:
    config = AaSPConfig.small(
        patch_embed="lowpass", pooling="mean+cls", last_layers=3, mean=-6.5, name="aasp-small-x-1"
    )
    assert AaSPConfig.from_json(config.to_json()) == config
    values = json.loads(config.to_json())
    assert values["model_type"] == "aasp"
    assert values["package_version"] == __version__


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dim": 190}, "multiple of heads"),
        ({"dim": "192"}, "dim must be int"),
        ({"last_layers": True}, "last_layers must be int"),
        ({"patch_embed": "wavelet"}, "not one of"),
        ({"std": 0.0}, "std > 0"),
        ({"mean": float("nan")}, "finite"),
        ({"context": 32}, "context"),
        ({"last_layers": 13}, "at most depth=12"),
        ({"lowpass_taps": 31}, "taps"),
        ({"depth": 0}, "at least 1"),
        ({"sample_rate": 44100}, "not one of"),
    ],
)
def test_wrong_values(changes: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AaSPConfig.tiny(**changes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "not valid JSON"),
        ("[]", "not an AaSP config"),
        ('{"model_type": "bert"}', "not an AaSP config"),
    ],
)
def test_wrong_json(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AaSPConfig.from_json(text)


def test_unknown_and_missing_keys() -> None:
    values = json.loads(AaSPConfig().to_json())
    with pytest.raises(ValueError, match=r"unknown keys \['colour'\]"):
        AaSPConfig.from_json(json.dumps({**values, "colour": 1}))
    del values["heads"]
    with pytest.raises(ValueError, match=r"missing keys \['heads'\]"):
        AaSPConfig.from_json(json.dumps(values))


@pytest.mark.parametrize(
    ("pooling", "dimensions"),
    [("mean", 192), ("cls", 192), ("mean+cls", 384), ("mean+std", 384), ("frequency", 1536), ("frequency+std", 3072)],
)
def test_embedding_dim(pooling: str, dimensions: int) -> None:
    assert AaSPConfig.tiny(pooling=pooling).embedding_dim == dimensions


def test_the_key_of_older_checkpoints_loads() -> None:
    config = AaSPConfig.tiny(last_layers=3)
    older = config.to_json().replace('"last_layers"', '"layers"')
    assert AaSPConfig.from_json(older) == config
    both = config.to_json().replace('"last_layers"', '"layers": 2, "last_layers"')
    with pytest.raises(ConfigError, match=r"unknown keys \['layers'\]"):
        AaSPConfig.from_json(both)
