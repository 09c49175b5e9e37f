"""Settings of the fine-tuning tests."""

import pytest


@pytest.fixture(autouse=True)
def quick_probe(few_epochs: None) -> None:
    """The probe that a run starts from is trained quickly."""
