"""Parameters, memory and arithmetic of a run's largest step, counted before the first one.

The step runs on the meta device, where tensors have shapes and no values.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from aasp_features.config import FRAME_HOP, PATCH
from aasp_features.train.data.batch import Batch
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.distributed import world_size
from aasp_features.train.pretrain.distillation import TeacherTargets
from aasp_features.train.pretrain.objective import Objective, prepare_blocks
from aasp_features.train.recipe import Recipe
from aasp_features.train.run.optimizer import build_optimizers, take_step, trained_parameters
from aasp_features.train.run.precision import autocast

META = torch.device("meta")


class StepCost(NamedTuple):
    """What a step takes in one process, in bytes and floating-point operations.

    Attributes:
        crops, columns: Crops in a part of the batch, and their length in token columns.
        parts: Parts of the batch that are computed one after the other.
        parameters: Number of trained parameters.
        weights: Bytes of the networks, with the EMA teacher.
        gradients, moments: Bytes of the gradients, and of the optimiser's moments.
        activations: Bytes that the forward pass leaves for the backward pass.
        peak: Largest number of bytes at once.
        flop: Operations of the matrix products for one crop; a multiply-add is two.
    """

    crops: int
    columns: int
    parts: int
    parameters: int
    weights: int
    gradients: int
    moments: int
    activations: int
    peak: int
    flop: float

    def lines(self) -> list[str]:
        """Return one line each for parameters, memory and arithmetic."""
        seconds = self.columns * PATCH * FRAME_HOP / SAMPLE_RATE
        step = self.parts * self.crops * self.flop
        return [
            f"parameters: {self.parameters / 1e6:.2f} million",
            f"memory: {self.peak / 1e9:.2f} GB at most (weights {self.weights / 1e9:.2f}, gradients "
            f"{self.gradients / 1e9:.2f}, optimiser {self.moments / 1e9:.2f}, activations of {self.crops} crops of "
            f"{seconds:.1f} s {self.activations / 1e9:.2f})",
            f"arithmetic: {self.flop / 1e9:.1f} GFLOP a crop, {step / 1e12:.2f} TFLOP a step",
        ]


def step_cost(recipe: Recipe, precision: str, targets: Mapping[str, TeacherTargets] | None = None) -> StepCost:
    """Count what the largest step of a run takes in one process.

    Args:
        recipe: Recipe of the run.
        precision: Precision of the step; see ``autocast``.
        targets: Targets of the external teachers by name.
    """
    given = {name: copy.deepcopy(one).to(META) for name, one in (targets or {}).items()}
    batch, parts = largest_batch(recipe, given)
    with META:
        objective = Objective(recipe, given)
    for block in (*objective.student.blocks, *objective.predictor.blocks):
        block.forward = GpuKernels().around(block.forward)  # checkpointing computes them again outside the mode below
    prepare_blocks(objective, replace(recipe.run, compile=False))
    with Counter() as counter:
        counter.hold(*objective.parameters(), *objective.buffers())
        weights = counter.now
        counter.hold(batch.log_mel)
        with GpuKernels(), autocast(META, precision):
            losses = objective(batch, torch.Generator())
        activations = counter.now - weights
        losses.total.backward()
    parameters = trained_parameters(objective)
    optimizers = build_optimizers(objective, recipe.optimizer).values()
    take_step(optimizers, torch.isfinite(losses.total))
    gradients = sum(parameter.grad.nbytes for parameter in parameters if parameter.grad is not None)
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    moments = sum(one.nbytes for state in states for one in state.values())
    kept = moments + (gradients if parts > 1 else 0)  # kept from part to part
    return StepCost(
        crops=len(batch.log_mel),
        columns=batch.columns,
        parts=parts,
        parameters=sum(parameter.numel() for parameter in parameters),
        weights=weights,
        gradients=gradients,
        moments=moments,
        activations=activations,
        peak=counter.peak + kept,
        flop=counter.flop / len(batch.log_mel),
    )


def largest_batch(recipe: Recipe, targets: Mapping[str, TeacherTargets]) -> tuple[Batch, int]:
    """Return the rows of a process in the largest part of a batch, without values, and the number of parts."""
    if targets:
        columns = max(length.columns for length in recipe.distillation.crop.lengths)
        crops, each = recipe.distillation.crops_at_once(columns) // world_size(), 1
    else:
        stage = max(recipe.data.stages, key=lambda stage: stage.columns * stage.sounds)
        columns, each = stage.columns, recipe.data.crops
        crops = each * stage.sounds // world_size()
    parts = min(recipe.run.accumulate, crops)
    crops = -(-crops // parts)
    return Batch(
        torch.empty(crops, PATCH * columns, recipe.config().mels, device=META),
        torch.full((crops,), PATCH * columns),
        torch.zeros(crops, dtype=torch.long, device=META),
        torch.arange(crops, device=META) // each,
        features={name: torch.empty(crops, len(one.mean), device=META) for name, one in targets.items()},
    ), parts


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count of the bytes of tensors on the meta device, and of the arithmetic of matrix products.

    Attributes:
        now, peak: Bytes of the tensors that exist, each storage counted once, and their largest number so far.
        flop: Floating-point operations so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.flop = 0
        self._held: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        if (flop := flop_registry.get(function.overloadpacket)) is not None:
            self.flop += flop(*args, **(kwargs or {}), out_val=made)
        self.hold(*(one for one in tree_leaves(made) if isinstance(one, Tensor)))
        return made

    def hold(self, *tensors: Tensor) -> None:
        """Count tensors of the meta device until they are gone."""
        for storage in [tensor.untyped_storage() for tensor in tensors if tensor.is_meta]:
            if storage._cdata not in self._held:
                self._held.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)

    def _release(self, storage: int, size: int) -> None:
        self._held.remove(storage)
        self.now -= size


class GpuKernels(TorchFunctionMode):
    """What the meta device lacks: fused attention, and the casts of a GPU's autocast."""

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that runs in this mode."""

        def run(*args: Any) -> Any:
            with self:
                return function(*args)

        return run

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        attention, low = function is functional.scaled_dot_product_attention, torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if attention or function is functional.linear else torch.float32
        if low and (attention or function in (functional.linear, functional.layer_norm)):
            args = [value.to(dtype) if isinstance(value, Tensor) else value for value in args]
        if attention:
            return torch.ops.aten._scaled_dot_product_efficient_attention(*args[:3], None, True)[0]
        return function(*args, **(kwargs or {}))
