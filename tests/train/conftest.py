"""Fixtures of the training tests."""

from evaluate_helpers import few_epochs, task_folder
from teacher_helpers import teachers
from train_helpers import sound_folder

__all__ = ["few_epochs", "sound_folder", "task_folder", "teachers"]
