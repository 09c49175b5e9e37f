"""What a step is computed in."""

import pytest
import torch

from aasp_features.train.run.precision import autocast, known_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_is_taken(wanted: str) -> None:
    assert known_precision(wanted, CPU) == wanted
    with autocast(CPU, wanted):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == getattr(torch, wanted)


@pytest.mark.parametrize(("capability", "known"), [("AVX2", "float32"), ("AVX512", None), ("DEFAULT", None)])
def test_a_cpu_that_may_have_bfloat16_is_measured(
    capability: str, known: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert known_precision("auto", CPU) == known


@pytest.mark.gpu
def test_a_gpu_is_known() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    known = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    assert known_precision("auto", torch.device("cuda")) == known
