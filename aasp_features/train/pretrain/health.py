"""Health metrics of a run: variance of targets and outputs, ω and α of the patch embedding, and a stop on collapse.

The state of a run holds some crops with their masks, too, as of the last log line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.errors import AaSPError
from aasp_features.model.patch_embed import AaPE
from aasp_features.train.data.batch import Batch, send
from aasp_features.train.distributed import agree_any, gather
from aasp_features.train.pretrain.ema_teacher import Targets
from aasp_features.train.pretrain.losses import standardise
from aasp_features.train.pretrain.masking import Masks
from aasp_features.train.pretrain.objective import Losses, Objective

MIN_VARIANCE = 1e-3  # of the frame targets between tokens; healthy runs stay above 0.1
MAX_BAD_STEPS = 10  # consecutive non-finite steps
QUANTILES = (5, 25, 50, 75, 95)  # of ω and α, in %
MAX_SHOWN = 3  # crops, and views of each, that are kept for the report


class CollapseError(AaSPError, RuntimeError):
    """A run that cannot recover."""


class Health:
    """Health metrics between log lines, collected on the device; only ``metrics`` waits for it."""

    def __init__(self) -> None:
        self.recent_cls: deque[Tensor] = deque(maxlen=8)
        self.recent_mean: deque[Tensor] = deque(maxlen=8)
        self.bad_in_a_row: Tensor | None = None
        self.max_bad: Tensor | None = None  # consecutive, since the last log line
        self.shown: dict[str, Tensor] = {}

    def collect(self, losses: Losses, finite: Tensor) -> None:
        """Count non-finite steps, and keep the EMA teacher's clip vectors of all processes for RankMe."""
        zero = torch.zeros((), dtype=torch.long, device=finite.device)
        bad = zero if self.bad_in_a_row is None else self.bad_in_a_row
        self.bad_in_a_row = torch.where(finite, zero, bad + 1)
        self.max_bad = torch.maximum(zero if self.max_bad is None else self.max_bad, self.bad_in_a_row)
        if losses.targets is not None:
            self.recent_cls.append(gather(losses.targets.cls.detach()))
            self.recent_mean.append(gather(losses.targets.mean.detach()))

    def state(self) -> dict[str, Tensor]:
        """Return the collected tensors by name."""
        found = {f"{name}.{index}": value for name, recent in self._recent() for index, value in enumerate(recent)}
        counts = {"bad_in_a_row": self.bad_in_a_row, "max_bad": self.max_bad}
        found |= {name: value.reshape(1) for name, value in counts.items() if value is not None}
        return found | {f"shown.{name}": value for name, value in self.shown.items()}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Restore the tensors of ``state``."""
        for name, recent in self._recent():
            count = sum(key.startswith(f"{name}.") for key in tensors)
            recent.clear()
            recent.extend(tensors[f"{name}.{index}"].to(device) for index in range(count))
        self.bad_in_a_row, self.max_bad = (
            tensors[name].reshape(()).to(device) if name in tensors else None for name in ("bad_in_a_row", "max_bad")
        )

        self.shown = {key.removeprefix("shown."): value for key, value in tensors.items() if key.startswith("shown.")}

    def _recent(self) -> tuple[tuple[str, deque[Tensor]], ...]:
        return ("cls", self.recent_cls), ("mean", self.recent_mean)

    def metrics(self, losses: Losses, objective: Objective, batch: Batch) -> dict[str, float]:
        """Return the metrics as numbers.

        Raises:
            CollapseError: In every process, if steps were not finite for long, or the targets lost their variance in
                any process.
        """
        bad = 0 if self.max_bad is None else int(self.max_bad)
        self.max_bad = None
        if bad > MAX_BAD_STEPS:
            raise CollapseError(
                f"loss or gradient was not finite for {bad} steps in a row; lower optimizer.learning_rate or set "
                "run.precision=float32."
            )
        if losses.masks is not None:
            self.shown = shown_crops(batch, losses.masks, objective.recipe.masking.views)
        signs = {} if losses.targets is None else self._target_signs(losses.targets, objective, batch)
        if isinstance(objective.student.patch_embed, AaPE):
            signs.update(frequency_signs(objective.student.patch_embed, batch))
        return signs

    def _target_signs(self, targets: Targets, objective: Objective, batch: Batch) -> dict[str, float]:
        real = (batch.column_frames > 0).repeat_interleave(objective.student.config.rows, dim=1)
        signs = {
            "target_variance": targets.frame[send(real, targets.frame.device)].var(dim=0).mean().item(),
            "clip_target_variance": targets.clip.var(dim=0).mean().item(),
            "rankme_cls": rank_me(torch.cat(list(self.recent_cls))),
            "rankme_mean": rank_me(torch.cat(list(self.recent_mean))),
        }
        if agree_any(signs["target_variance"] < MIN_VARIANCE):
            raise CollapseError(
                f"the targets have collapsed: their variance between tokens is {signs['target_variance']:.1e}; raise "
                "objective.momentum_start or lower optimizer.learning_rate."
            )
        return signs


def rank_me(vectors: Tensor) -> float:
    """Return RankMe (Garrido et al. 2023), e to the entropy of the normalised singular values of (count, dim)."""
    singular = torch.linalg.svdvals(standardise(vectors.float()))
    share = singular / singular.sum().clamp(min=1e-12) + 1e-7
    return math.exp(-(share * share.log()).sum().item())


@torch.no_grad()
def frequency_signs(patch_embed: AaPE, batch: Batch) -> dict[str, float]:
    """Return mean, deviation and quantiles of ω (Hz) and α (1/s) over patches; of each row, mean and deviation."""
    real = send(batch.column_frames[:8] > 0, batch.log_mel.device)  # (8, columns)
    alpha, omega = (rates[real] for rates in patch_embed.rates(batch.log_mel[:8]))  # (real columns, rows, states)
    signs = {}
    for name, values in (("omega_hz", omega / (2 * math.pi)), ("alpha", alpha)):
        signs[f"{name}_mean"], signs[f"{name}_std"] = values.mean().item(), values.std().item()
        signs[f"{name}_std_within_state"] = values.std(dim=0).mean().item()
        shares = torch.tensor(QUANTILES, device=values.device) / 100
        for share, value in zip(QUANTILES, torch.quantile(values.flatten(), shares).tolist(), strict=True):
            signs[f"{name}_q{share}"] = value
        for row in range(values.shape[1]):
            signs[f"{name}_mean_row{row}"] = values[:, row].mean().item()
            signs[f"{name}_std_row{row}"] = values[:, row].std().item()
    return signs


def shown_crops(batch: Batch, masks: Masks, views: int) -> dict[str, Tensor]:
    """Return the first crops with the masks of their first views, on the CPU.

    Returns:
        ``frame_lengths`` (crops,); ``log_mel`` (crops, frames, mels) float16; ``roles`` (crops, views, tokens), as of
        ``Masks.roles``.
    """
    tokens = batch.columns * (batch.log_mel.shape[2] // PATCH)
    roles = masks.roles(tokens).view(-1, views, tokens)[:MAX_SHOWN, :MAX_SHOWN].to("cpu", copy=True)
    log_mel = batch.log_mel[: len(roles)].half().cpu()
    return {"frame_lengths": batch.frame_lengths[: len(roles)].clone(), "log_mel": log_mel, "roles": roles}
