"""Pre-training: objective, distillation, optimisers and runs."""
