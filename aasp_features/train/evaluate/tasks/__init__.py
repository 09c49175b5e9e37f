"""Labelled tasks: public ones in the layout of their distributions, and the user's own."""
