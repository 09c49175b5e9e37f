"""Choices of a call, filled in once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPConfig, AaSPError, OptionError
from aasp_features.options import EmbedOptions, automatic_batch_size, check_device, resolve_options

CONFIG = AaSPConfig.tiny(pooling="mean", last_layers=3)


def test_what_is_left_open_is_the_configs() -> None:
    assert resolve_options(CONFIG) == EmbedOptions("mean", 3, 8, 64, 8, "float32")


def test_choices_win() -> None:
    chosen = resolve_options(
        CONFIG, pooling="cls", last_layers=1, batch_size=5, window=9, context=0, precision="bfloat16"
    )
    assert chosen == EmbedOptions("cls", 1, 5, 9, 0, "bfloat16")


@given(window=st.integers(-3, 70), context=st.integers(-3, 40))
def test_windows_leave_columns_between_their_contexts(window: int, context: int) -> None:
    if 0 <= 2 * context < window <= 64:
        assert resolve_options(CONFIG, window=window, context=context).window == window
    else:
        with pytest.raises(OptionError, match=r"window must be 1 to 64|context must leave columns"):
            resolve_options(CONFIG, window=window, context=context)


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"pooling": "max"}, "pooling must be one of mean, cls, .*, got 'max'"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, got 'half'"),
        ({"last_layers": 13}, "last_layers must be 1 to 12"),
        ({"last_layers": 0}, "last_layers must be 1 to 12"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": "3"}, "batch_size must be a whole number, got '3'"),
        ({"last_layers": 1.5}, "last_layers must be a whole number, got 1.5"),
        ({"window": True}, "window must be a whole number, got True"),
    ],
)
def test_sentences(choices: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence) as raised:
        resolve_options(CONFIG, **choices)
    assert isinstance(raised.value, AaSPError)
    assert raised.value.exit_code == 2


def test_automatic_batch_sizes() -> None:
    assert automatic_batch_size(AaSPConfig.base(), "cpu") == automatic_batch_size(AaSPConfig.tiny(), "mps") == 8
    assert automatic_batch_size(AaSPConfig.base(), "cuda") >= 8


def test_devices() -> None:
    for device in (None, "cpu", torch.device("cpu"), "cpu:0"):
        check_device(device)
    for device in ("foo", object(), "cuda:-3"):
        with pytest.raises(OptionError, match="device must be one that torch can use here"):
            check_device(device)
