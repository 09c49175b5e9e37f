"""AaSPConfig: strict JSON, sentences for what is wrong."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPConfig, __version__
from aasp_features.config import ConfigError, read_json
from aasp_features.model.network import AaSPNetwork


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
        ({"std": 0.0}, "std must be 0.001 to 100, got 0.0"),
        ({"std": float("inf")}, "std must be 0.001 to 100, got inf"),
        ({"mean": float("nan")}, "mean must be -100 to 100, got nan"),
        ({"mean": 10**400}, "mean must be -100 to 100"),
        ({"dim": 8192, "heads": 8, "depth": 128}, "at most 1073741824 are accepted"),
        ({"lowpass_cutoff": float("nan")}, "lowpass_cutoff must be"),
        ({"lowpass_taps": 64}, "must be odd"),
        ({"name": "a\ud800"}, "printable"),
        ({"name": "a" * 201}, "1 to 200 printable characters"),
        ({"name": ["a"]}, "name must be str"),
        ({"context": 32}, "context"),
        ({"last_layers": 13}, "at most depth=12"),
        ({"lowpass_taps": 31}, "taps"),
        ({"depth": 0}, "depth must be 1 to 128, got 0"),
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
        ('{"model_type": "aasp", "dim": ' + "9" * 5000 + "}", "not valid JSON|missing keys"),
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
    with pytest.raises(ConfigError, match=r"unknown keys \['layers'\]"):
        AaSPConfig.from_json(config.to_json().replace('"last_layers"', '"layers": 2, "last_layers"'))


def test_the_largest_network_that_is_accepted() -> None:
    """The bound counts about what the network has."""
    for config in (AaSPConfig.tiny(), AaSPConfig.small(patch_embed="conv"), AaSPConfig.base()):
        with torch.device("meta"):
            network = AaSPNetwork(config)
        counted = sum(one.numel() for one in [*network.parameters(), *network.buffers()])
        assert config.num_parameters == pytest.approx(counted, rel=0.05)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_reads_what_json_writes(value: object) -> None:
    text = json.dumps(value)
    assert read_json(text, 10**6) == value
    assert read_json(text.encode(), 10**6) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "key 'b' stands there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        (b"\xff", "not UTF-8"),
        ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ("1 2", "Extra data"),
        (" " * 10**6, "longer than the 500000 bytes"),
    ],
)
def test_json_that_is_refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_json(text, 500_000)
