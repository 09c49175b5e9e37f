"""Cluster a folder of sounds and list outliers: ``python examples/cluster_sounds.py FOLDER GROUPS [emb.npy]``.

``emb.npy`` holds the vectors of an earlier ``aasp-embed FOLDER --out emb.npy``, with its table of names beside it.
Without it, the script computes the vectors.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds, read_results

NEIGHBOURS = 3

parser = ArgumentParser(usage="cluster_sounds.py FOLDER GROUPS [emb.npy]", description=__doc__)
parser.add_argument("folder", type=Path)
parser.add_argument("groups", type=int)
parser.add_argument("vectors", type=Path, nargs="?")
given = parser.parse_args()
if given.vectors:
    results = read_results(given.vectors)
    vectors, files = np.asarray(results.vectors), list(results.table["path"])
else:
    files = [sound.path for sound in find_sounds(given.folder).sounds]
    vectors = AaSPEncoder.from_pretrained().embed(files)
if not 1 <= given.groups <= len(files):
    parser.error(f"{len(files)} sounds make 1 to {len(files)} groups, got {given.groups}.")

# Vectors may share a large part; the difference from the mean separates sounds.
centred = vectors - vectors.mean(axis=0)
centred /= np.linalg.norm(centred, axis=1, keepdims=True)
labels = KMeans(given.groups, n_init=10, random_state=0).fit_predict(centred)
for group in range(given.groups):
    print(f"group {group + 1}")
    for index in np.flatnonzero(labels == group):
        print(f"  {files[index]}")

count = min(NEIGHBOURS + 1, len(centred))  # itself among them
distances, _ = NearestNeighbors(n_neighbors=count).fit(centred).kneighbors(centred)
alone = distances[:, 1:].mean(axis=1)
print("least like any other")
for index in np.argsort(-alone)[:NEIGHBOURS]:
    print(f"  {alone[index]:.2f}  {files[index]}")
