"""What every run of training has: folder, state, resuming, stopping, optimisers and precision."""
