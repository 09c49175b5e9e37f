"""Stability of vectors under small changes, and their content on modulations."""
