"""Is the run well? Spread of the targets and outputs, ω and α of the patch embedding, and the stop on collapse."""

from __future__ import annotations

import math
from collections import deque

import torch
from torch import Tensor

from aasp_features.network import count_valid
from aasp_features.patch_embed import AaPE
from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.ema_teacher import Targets
from aasp_features.train.pretrain.losses import standardise
from aasp_features.train.pretrain.objective import Losses, Objective

SMALLEST_VARIANCE = 1e-3  # of the frame targets between tokens; healthy runs stay above 0.1
MOST_BAD_STEPS = 10  # non-finite steps in a row


class CollapseError(RuntimeError):
    """The run cannot recover; its sentence says what was seen."""


class Health:
    """Collects a run's vital signs between two log lines."""

    def __init__(self) -> None:
        self.recent_cls: deque[Tensor] = deque(maxlen=8)
        self.recent_mean: deque[Tensor] = deque(maxlen=8)
        self.bad_steps = 0

    def check_step(self, finite: bool) -> None:
        """Count non-finite steps; raises CollapseError after too many in a row."""
        self.bad_steps = 0 if finite else self.bad_steps + 1
        if self.bad_steps > MOST_BAD_STEPS:
            raise CollapseError(
                f"loss or gradient was not finite for {self.bad_steps} steps in a row; lower learning_rate, or set "
                "precision=float32."
            )

    def collect(self, targets: Targets) -> None:
        """Keep the teacher's clip vectors of a step for RankMe."""
        self.recent_cls.append(targets.cls.detach())
        self.recent_mean.append(targets.mean.detach())

    def report(self, losses: Losses, objective: Objective, batch: Batch) -> dict[str, float]:
        """Vital signs as numbers; raises CollapseError when the targets have lost their variance."""
        signs = {} if losses.targets is None else self._target_signs(losses.targets, objective, batch)
        if isinstance(objective.student.patch_embed, AaPE):
            signs.update(frequency_signs(objective.student.patch_embed, batch))
        return signs

    def _target_signs(self, targets: Targets, objective: Objective, batch: Batch) -> dict[str, float]:
        valid = valid_tokens(batch, objective.student.config.rows)
        signs = {
            "target_variance": targets.frame[valid].var(dim=0).mean().item(),
            "utterance_target_variance": targets.utterance.var(dim=0).mean().item(),
            "rankme_cls": rank_me(torch.cat(list(self.recent_cls))),
            "rankme_mean": rank_me(torch.cat(list(self.recent_mean))),
        }
        if signs["target_variance"] < SMALLEST_VARIANCE:
            raise CollapseError(
                f"the targets have collapsed: their variance between tokens is {signs['target_variance']:.1e}; raise "
                "momentum_start or lower learning_rate."
            )
        return signs


def rank_me(vectors: Tensor) -> float:
    """RankMe (Garrido et al. 2023): e to the entropy of the normalised singular values of (count, dim) vectors."""
    singular = torch.linalg.svdvals(standardise(vectors.float()))
    share = singular / singular.sum().clamp(min=1e-12) + 1e-7
    return math.exp(-(share * share.log()).sum().item())


def valid_tokens(batch: Batch, rows: int) -> Tensor:
    """(batch, tokens) false where a token is padding."""
    return (count_valid(batch.log_mel, batch.frames, batch.columns) > 0).repeat_interleave(rows, dim=1)


@torch.no_grad()
def frequency_signs(patch_embed: AaPE, batch: Batch) -> dict[str, float]:
    """Mean and standard deviation of ω (in Hz) and α (in 1/s), over everything and for each row of patches."""
    real = count_valid(batch.log_mel, batch.frames, batch.columns)[:8] > 0  # (8, columns)
    alpha, omega = (rates[real] for rates in patch_embed.rates(batch.log_mel[:8]))  # (real columns, rows, states)
    signs = {}
    for name, values in (("omega_hz", omega / (2 * math.pi)), ("alpha", alpha)):
        signs[f"{name}_mean"], signs[f"{name}_std"] = values.mean().item(), values.std().item()
        signs[f"{name}_std_within_state"] = values.std(dim=0).mean().item()
        for row in range(values.shape[1]):
            signs[f"{name}_mean_row{row}"] = values[:, row].mean().item()
            signs[f"{name}_std_row{row}"] = values[:, row].std().item()
    return signs
