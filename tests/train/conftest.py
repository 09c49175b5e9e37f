"""Fixtures of the training tests."""

from train_helpers import sound_folder

__all__ = ["sound_folder"]
