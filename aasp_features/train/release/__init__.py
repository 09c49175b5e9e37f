"""Products of a finished run: checkpoint, card, attribution, ONNX graph and report."""
