"""Fine-tune on one folder of sounds per class: ``python examples/fine_tune.py SOUNDS OUT [KEY=VALUE …]``.

Settings are those of the recipe, such as ``run.epochs=5``. OUT holds one run per fold and one on all clips; the same
command resumes them. Hundreds of clips take minutes to hours on a CPU. ``aasp-train classify SOUNDS --finetune --out
OUT`` does the same, and writes a report.
"""

import sys
from pathlib import Path

import torch

from aasp_features import AaSPEncoder
from aasp_features.train.evaluate.finetune.folds import finetune_folds
from aasp_features.train.evaluate.finetune.recipes import load_recipe
from aasp_features.train.evaluate.tasks.reading import read_tasks

sounds, out, settings = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
(task,) = read_tasks([sounds])
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
recipe = load_recipe("small", settings)
result, classifier = finetune_folds(AaSPEncoder.from_pretrained(), task, recipe, out, device)
print(f"held out: {result.value:.1f} % ({result.interval[0]:.1f}-{result.interval[1]:.1f})")
classifier.save_pretrained(out)
for label, probability in classifier.predict(task.files[0], top=2):
    print(f"{task.files[0]}: {label} {probability:.2f}")
