"""Labelled tasks: public ones as their distributions lie on disk, and the user's own."""
