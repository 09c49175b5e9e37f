"""From a finished run to what is passed on: checkpoint, card, attribution, ONNX graph, curves."""
