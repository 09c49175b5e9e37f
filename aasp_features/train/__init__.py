"""Pre-training and evaluation, which need the extra ``train``; inference never imports this package."""
