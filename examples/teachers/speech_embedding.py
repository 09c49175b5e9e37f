"""Google's speech embedding: one graph to mel frames, one from 76 of them to 96 numbers."""

from pathlib import Path

import numpy as np

from aasp_features.train.pretrain.external_teachers import Floats, Network, open_graph

WINDOW, HOP = 76, 16  # mel frames of 10 ms
AT_ONCE = 64  # windows; more of them leave the processor's caches


def load(files: dict[str, Path]) -> Network:
    """(batch, samples) -> (batch, 192): mean and standard deviation over the windows."""
    mel = open_graph(files["speech_melspectrogram.onnx"])
    embedding = open_graph(files["speech_embedding_model.onnx"])
    mel_input, embedding_input = mel.get_inputs()[0].name, embedding.get_inputs()[0].name

    def features(waveform: Floats) -> Floats:
        frames = mel.run(None, {mel_input: waveform * 32767})[0].reshape(len(waveform), -1, 32) / 10 + 2
        starts = range(0, frames.shape[1] - WINDOW + 1, HOP)
        windows = np.stack([frames[:, start : start + WINDOW] for start in starts], axis=1).reshape(-1, WINDOW, 32, 1)
        parts = [windows[first : first + AT_ONCE] for first in range(0, len(windows), AT_ONCE)]
        numbers = np.concatenate([embedding.run(None, {embedding_input: part})[0] for part in parts])
        numbers = numbers.reshape(len(waveform), len(starts), 96)
        return np.concatenate([numbers.mean(axis=1), numbers.std(axis=1)], axis=1)

    return features
