"""Inputs of the networks: batches, waveforms and crops."""
