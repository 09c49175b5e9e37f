"""Options of a run."""

import pytest

from aasp_features.errors import OptionError
from aasp_features.folder.options import RunOptions


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"hop": 0.04}, "it needs frames"), ({"frames": True, "hop": 0.1}, "hop must be"), ({"dtype": "int8"}, "dtype")],
)
def test_options_that_are_not_accepted(options: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        RunOptions(**options)
