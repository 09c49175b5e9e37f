"""Robustness of probes to short, noisy, coded, loud or quiet test sounds."""
