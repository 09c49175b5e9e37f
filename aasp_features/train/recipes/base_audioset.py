"""The recipe ``base_audioset``: ``base`` for ten epochs of AudioSet's unbalanced part.

The paper's public pages name this corpus, an EMA teacher, a cross-attention predictor and a contrast of several masked
views. They give no size, schedule or weight. The values below are those in the code of EAT, its nearest relative; those
of ``base`` say where they are from.
"""

from dataclasses import replace

from aasp_features.train.recipes.base import RECIPE as BASE

RECIPE = replace(
    BASE,
    name="base_audioset",
    optimizer=replace(BASE.optimizer, warm_up=0.133, clip_norm=4.0),
    run=replace(BASE.run, steps=362_000, keep_states=2),  # ten times 1,738,788 clips in batches of 48; states: ours
)
