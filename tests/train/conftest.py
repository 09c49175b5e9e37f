"""Fixtures of the training tests."""

from evaluate_helpers import one_penalty, task_folder
from teacher_helpers import teachers
from train_helpers import sound_folder

__all__ = ["one_penalty", "sound_folder", "task_folder", "teachers"]
