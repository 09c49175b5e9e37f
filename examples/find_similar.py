"""Rank the sounds of a folder by similarity to one: ``python examples/find_similar.py SOUND FOLDER``."""

import sys
from pathlib import Path

import numpy as np

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds

query, folder = Path(sys.argv[1]), Path(sys.argv[2])
encoder = AaSPEncoder.from_pretrained()
files = [sound.path for sound in find_sounds([folder]).sounds]
vectors = encoder.embed(files)
# Vectors share a large common part; the difference from the mean separates sounds.
centred = vectors - vectors.mean(axis=0)
own = encoder.embed(query) - vectors.mean(axis=0)
similarity = centred @ own / (np.linalg.norm(centred, axis=1) * np.linalg.norm(own))
for index in np.argsort(-similarity):
    print(f"{similarity[index]:+.2f}  {files[index]}")
