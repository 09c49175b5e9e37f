"""Which sounds of a folder are most like this one? ``python examples/find_similar.py SOUND FOLDER``."""

import sys
from pathlib import Path

import numpy as np

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds

query, folder = Path(sys.argv[1]), Path(sys.argv[2])
encoder = AaSPEncoder.from_pretrained()
files = [sound.path for sound in find_sounds([folder]).sounds]
vectors = encoder.embed(files)
# Vectors share a large common part; what tells sounds apart is how each differs from the mean.
centred = vectors - vectors.mean(axis=0)
own = encoder.embed(query) - vectors.mean(axis=0)
similarity = centred @ own / (np.linalg.norm(centred, axis=1) * np.linalg.norm(own))
for place in np.argsort(-similarity):
    print(f"{similarity[place]:+.2f}  {files[place]}")
