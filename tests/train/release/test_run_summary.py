"""What is taken from a run's record."""

import math
from pathlib import Path

import pytest

from aasp_features.train.release.run_summary import describe, recipe_from_record


def test_summary(runs: dict[str, Path]) -> None:
    run = describe([runs["lowpass"]])
    assert (run.config.patch_embed, run.config.lowpass_taps, run.config.pooling) == ("lowpass", 49, "frequency")
    # 5 steps of 4 sounds, one of 3, two crops of each; 1011 frames of 10 ms
    assert run.paragraph.startswith("Recipe `test`, 6 steps, 46 crops, 0 minutes in float32 on cpu with torch ")
    assert run.paragraph.endswith(" (10.1 seconds).")
    assert run.longest == pytest.approx(8 * 0.16)
    assert run.contrast_chance == pytest.approx(math.log(1 + 3 * 4))  # views of the three other sounds
    assert (run.learns_masked, run.teachers, run.start_from) == (True, [], None)
    assert "The weights are the mean of 2 such runs" in describe([runs["conv"], runs["lowpass"]]).paragraph


def test_another_version(runs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="another package version wrote the run's recipe"):
        recipe_from_record({"recipe": {"colour": 1}})
    with pytest.raises(ValueError, match="holds no run"):
        describe([runs["conv"].parent])
