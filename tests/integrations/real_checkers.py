"""Run other projects' own checkers, where they are installed, and print what they say.

``pip install --no-deps hearvalidator xares && pip install loguru scikit-learn mteb``, then
``python tests/integrations/real_checkers.py``. TensorFlow, which HEAR's validator imports but needs only for TensorFlow
models, is replaced by an empty module; torchaudio, which transformers imports, and torchcodec, with which datasets
reads and writes sounds, are replaced where they cannot be imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import types
import warnings
from collections.abc import Callable
from typing import Any


def hear() -> str:
    """hearvalidator, on this package's HEAR module; warnings count."""
    _replace("tensorflow").Module = type("Module", (), {})
    from hearvalidator.validate import ValidateModel

    del sys.modules["tensorflow"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ValidateModel("aasp_features.integrations.hear", "", device="cpu")()
    ours = [str(warning.message) for warning in caught if "hearvalidator" in str(warning.filename)]
    return f"passed, {len(ours)} warnings" + "".join(f"; {text}" for text in ours)


def xares() -> str:
    """X-ARES' audio_encoder_checker."""
    from xares.audio_encoder_checker import check_audio_encoder

    from aasp_features.integrations.xares import AaSPXaresEncoder

    return "passed" if check_audio_encoder(AaSPXaresEncoder()) else "FAILED"


def sklearn() -> str:
    """scikit-learn's check_estimator."""
    from sklearn.utils.estimator_checks import check_estimator

    from aasp_features.integrations.sklearn import AaSPTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            AaSPTransformer(pooling="mean"),
            expected_failed_checks={
                "check_methods_subset_invariance": "asks for 1e-7 beside 0; batches of other sizes differ by 2e-7"
            },
            on_fail=None,
        )
    states = [result["status"] for result in results]
    failed = [f"; {result['check_name']}: {result['exception']}" for result in results if result["status"] == "failed"]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) + "".join(failed)


def mteb() -> str:
    """mteb's mock run: every kind of audio task, on a few sounds."""
    if not _imports("torchaudio"):
        _replace("torchaudio")
    if not _imports("torchcodec"):
        _let_soundfile_serve_datasets()
    import mteb

    from aasp_features.integrations.mteb import AaSPMteb

    results = {name: result for name, result in mteb.mock_run(AaSPMteb()).items() if result is not None}
    failed = [f"; {name}: {result.exception}" for name, result in results.items() if hasattr(result, "exception")]
    return f"{len(results) - len(failed)} of {len(results)} tasks passed" + "".join(failed)


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def _let_soundfile_serve_datasets() -> None:
    import datasets
    import numpy as np
    import soundfile

    def encode_example(_: object, value: dict[str, Any]) -> dict[str, Any]:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.asarray(value["array"]).T, value["sampling_rate"], format="WAV", subtype="FLOAT")
        return {"bytes": buffer.getvalue(), "path": None}

    def decode_example(_: object, value: dict[str, Any], **__: object) -> dict[str, Any]:
        array, rate = soundfile.read(io.BytesIO(value["bytes"]))
        return {"array": array.T, "sampling_rate": rate}

    datasets.Audio.encode_example, datasets.Audio.decode_example = encode_example, decode_example


def _replace(name: str) -> types.ModuleType:
    """An empty module instead of a package."""
    module = types.ModuleType(name)
    module.__spec__ = importlib.util.spec_from_loader(name, None)
    sys.modules[name] = module
    return module


CHECKERS: dict[str, tuple[str, Callable[[], str]]] = {
    "HEAR": ("hearvalidator", hear),
    "X-ARES": ("xares", xares),
    "scikit-learn": ("sklearn", sklearn),
    "mteb": ("mteb", mteb),
}


def main() -> None:
    print("| checker | version | result |\n|---|---|---|")
    for name, (package, check) in CHECKERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"| {name} | not installed | |")
            continue
        from importlib.metadata import version

        label = version("scikit-learn" if package == "sklearn" else package)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = check()
        except BaseException as error:  # the validator's own errors are no Exception
            result = f"FAILED: {type(error).__name__}: {error}"
        print(f"| {name} | {label} | {result} |", flush=True)


if __name__ == "__main__":
    main()
