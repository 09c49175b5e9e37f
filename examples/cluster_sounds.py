"""Cluster a folder of sounds and list outliers: ``python examples/cluster_sounds.py FOLDER GROUPS [emb.npy]``.

``emb.npy`` holds the vectors of an earlier ``aasp-embed FOLDER --out emb.npy``, with its table of names beside it.
Without it, the script computes the vectors.
"""

import csv
import sys
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds

NEIGHBOURS = 3

folder, groups = Path(sys.argv[1]), int(sys.argv[2])
if len(sys.argv) > 3:
    vectors = np.load(sys.argv[3])
    with Path(sys.argv[3]).with_suffix(".csv").open(encoding="utf-8", newline="") as table:
        files = [row["path"] for row in csv.DictReader(table)]
else:
    files = [sound.path for sound in find_sounds(folder).sounds]
    vectors = AaSPEncoder.from_pretrained().embed(files)

# Vectors may share a large part; the difference from the mean separates sounds.
centred = vectors - vectors.mean(axis=0)
centred /= np.linalg.norm(centred, axis=1, keepdims=True)
labels = KMeans(groups, n_init=10, random_state=0).fit_predict(centred)
for group in range(groups):
    print(f"group {group + 1}")
    for index in np.flatnonzero(labels == group):
        print(f"  {files[index]}")

count = min(NEIGHBOURS + 1, len(centred))  # itself among them
distances, _ = NearestNeighbors(n_neighbors=count).fit(centred).kneighbors(centred)
alone = distances[:, 1:].mean(axis=1)
print("least like any other")
for index in np.argsort(-alone)[:NEIGHBOURS]:
    print(f"  {alone[index]:.2f}  {files[index]}")
