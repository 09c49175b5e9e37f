"""What is left of a probe's score where test sounds are short, noisy, coded, loud or quiet."""
