"""Pre-training and evaluation; needs the extra ``train``. Inference never imports this package."""
