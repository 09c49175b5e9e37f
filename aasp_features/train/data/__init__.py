"""What the networks are fed: batches, waveforms, crops."""
