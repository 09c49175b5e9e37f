"""Evaluation of vectors: labelled tasks, linear and nearest-neighbour probes, and reports."""
