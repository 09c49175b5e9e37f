"""A few files of each kind are decoded as PyAV decodes them; ``tests/formats.py`` compares hundreds."""

import numpy as np
import pytest
from formats import KINDS, compare


@pytest.mark.parametrize("kind", list(KINDS))
def test_files_are_decoded_as_pyav_does(kind: str) -> None:
    for case in range(2):
        result = compare(kind, np.random.default_rng(case))
        assert result.samples == 0
        assert result.correlation >= 0.999
