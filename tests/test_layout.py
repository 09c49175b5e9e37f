"""Imports run one way, and importing costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from warm_process import run_python as run_warm

PACKAGE = Path(__file__).resolve().parents[1] / "aasp_features"

# From the top down: a module may import only from rows below its own.
LAYERS = [
    ["integrations", "viz"],
    ["train"],
    ["__main__"],
    ["cli", "search_command"],
    ["similarity"],
    ["embed_options"],
    ["folder"],
    ["classifier"],
    ["classifier_files"],
    ["encoder"],
    ["stream", "typing"],
    ["inference"],
    ["inputs", "checkpoint", "sounds", "fine_tuning"],
    ["model"],
    ["forked", "events", "options"],
    ["windows", "audio", "command_line"],
    ["config", "checkpoints"],
    ["errors", "version", "contents", "whole_file"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name != "__init__.py")


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_layers(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "aasp_features":
                found |= {alias.name for alias in node.names if alias.name in RANK}
            elif node.module and node.module.startswith("aasp_features."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("aasp_features.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    own = layer_of(path)
    for other in imported_layers(path) - {own}:
        assert RANK[other] > RANK[own], f"{path.name} ({own}) must not import {other}"


def test_every_module_has_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= set(RANK)


def test_audio_and_config_import_no_sibling() -> None:
    for path in (PACKAGE / "audio").glob("*.py"):
        assert imported_layers(path) <= {"errors", "audio"}, path
    assert imported_layers(PACKAGE / "config.py") == {"errors", "version"}


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "module",
    [
        "aasp_features",
        *(f"aasp_features.{name}" for name in ("cli", "search_command", "train.cli", "windows", "inference")),
    ],
)
def test_importing_needs_no_torch(module: str) -> None:
    assert run_python(f"import sys, {module}; print('torch' in sys.modules)").strip() == "False"


def test_importing_changes_no_settings_and_imports_no_training() -> None:
    code = """
import sys, warnings, torch
def settings():
    return torch.get_num_threads(), list(warnings.filters), torch.is_grad_enabled()
before = settings()
import aasp_features.encoder, aasp_features.cli
print(before == settings(), [name for name in sys.modules if name.startswith("aasp_features.train")])
"""
    assert run_warm(code).stdout.strip() == "True []"  # in a process that has torch alone


def test_public_names_resolve() -> None:
    import aasp_features.folder

    for module in (aasp_features, aasp_features.folder):
        assert all(getattr(module, name) is not None for name in module.__all__)
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018


def test_errors_have_one_root() -> None:
    """Every class of the package that is an error; leaving a run by Ctrl-C is none."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            bases = [getattr(base, "id", "") for base in node.bases] if isinstance(node, ast.ClassDef) else []
            if any(base.endswith(("Error", "Exception")) for base in bases):
                assert bases[0] == "AaSPError" or path.name == "errors.py", f"{path}: {node.name}"


def test_files_and_functions_stay_short() -> None:
    for path in [*MODULES, *Path(__file__).parent.rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, f"{path} is longer than 400 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and PACKAGE in path.parents:
                body_start = node.body[0].lineno if ast.get_docstring(node) is None else node.body[0].end_lineno + 1
                assert node.end_lineno - body_start < 40, f"{path}:{node.lineno} {node.name}"


# What needs no test of its name: packages' lists of names, entry points, and options that others' tests go through.
WITHOUT_TEST = {
    "version.py",
    "command_line.py",
    "embed_options.py",
    "__main__.py",
    "train/__main__.py",
    "train/errors.py",
}


def test_tests_mirror_the_package() -> None:
    """``folder/plan.py`` is tested by ``folder/test_plan.py``, or with its folder by ``folder/test_folder.py``."""
    tests = Path(__file__).parent
    for path in MODULES:
        module = path.relative_to(PACKAGE)
        if path.name != "__init__.py" and str(module) not in WITHOUT_TEST and "recipes" not in module.parts:
            folder = path.parent.name
            names = [f"test_{path.name}", f"test_{folder}_{path.name}", f"test_{folder}.py", f"../test_{folder}.py"]
            assert any((tests / module.parent / name).is_file() for name in names), f"{module} has no test, {names[0]}"
