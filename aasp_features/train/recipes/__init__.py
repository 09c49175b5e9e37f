"""Preset recipes, one a file."""
