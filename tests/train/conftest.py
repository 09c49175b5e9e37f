"""Fixtures of the training tests."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from evaluate_helpers import few_epochs, one_penalty, task_folder
from teacher_helpers import teachers
from train_helpers import sound_folder
from warm_process import CONTEXT

from aasp_features.train.pretrain import feature_makers

__all__ = ["few_epochs", "one_penalty", "sound_folder", "task_folder", "teachers"]


@pytest.fixture(scope="session", autouse=True)
def warm_makers() -> Iterator[None]:
    """Processes that run the teachers are forked from one that has torch, instead of each importing it anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_makers, "multiprocessing", SimpleNamespace(get_context=lambda _: CONTEXT))
        yield
