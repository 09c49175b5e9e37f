"""Name sounds from a few examples: ``python examples/few_shot.py EXAMPLES SOUNDS``.

EXAMPLES has one folder per name, with one or more sounds. Each sound gets the name whose mean example vector is nearest
by cosine, or ``other`` if the cosine is lower than that of 95 % of the examples with the rest of their name. With
dozens of examples per name, use ``aasp-train classify``.
"""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np

from aasp_features import AaSPEncoder
from aasp_features.folder import find_sounds

parser = ArgumentParser(usage="few_shot.py EXAMPLES SOUNDS", description=__doc__)
parser.add_argument("examples", type=Path)
parser.add_argument("sounds", type=Path)
given = parser.parse_args()
encoder = AaSPEncoder.from_pretrained()
names = sorted(path.name for path in given.examples.glob("*/"))
if not names:
    parser.error(f"{given.examples} has no folders; make one for each name, with some sounds of it.")
shown = [encoder.embed([sound.path for sound in find_sounds(given.examples / name).sounds]) for name in names]
files = [sound.path for sound in find_sounds(given.sounds).sounds]
vectors = encoder.embed(files)
# Vectors may share a large part; the difference from the mean separates sounds.
common = np.concatenate([*shown, vectors]).mean(axis=0)


def cosine(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    return (ones * others).sum(-1) / np.linalg.norm(ones, axis=-1) / np.linalg.norm(others, axis=-1)


means = np.stack([own.mean(axis=0) for own in shown]) - common
cosines = cosine(vectors[:, None] - common, means)
# Each example with the mean of the others of its name tells how near a sound of a known name is.
pairs = [(own - common, len(own) * mean - (own - common)) for own, mean in zip(shown, means, strict=True)]
near = np.concatenate([cosine(own, others) for own, others in pairs if len(own) > 1] or [np.array([-1.0])])
least = np.quantile(near, 0.05, method="lower")
for file, row in zip(files, cosines, strict=True):
    best, second = np.argsort(-row)[:2] if len(names) > 1 else (0, 0)
    name = names[best] if row[best] >= least else "other"
    print(f"{name}\t{row[best]:+.2f}\t{row[best] - row[second]:.2f} before {names[second]}\t{file}")
