"""Fine-tuning: an encoder and a linear layer trained together on a task's labels, by a recipe."""
