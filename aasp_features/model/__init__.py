"""The network: log-mel, aliasing-aware patch embedding, transformer, pooling."""
