"""Inside the training package imports run one way: cli -> evaluate, release, pretrain -> data, run -> recipe."""

import ast
from pathlib import Path

import pytest

TRAIN = Path(__file__).resolve().parents[2] / "aasp_features" / "train"
RANK = {
    "errors": 0,
    "options": 0,
    "markdown": 0,
    "html_page": 0,
    "whole_file": 0.5,
    "distributed": 0.5,
    "distillation_settings": 0,
    "recipe": 1,
    "recipes": 2,
    "run": 2.5,
    "data": 3,
    "pretrain": 4,
    "evaluate": 5,
    "cli": 6,
}
RANK |= {"release": 5, "__main__": 7}
MODULES = sorted(path for path in TRAIN.rglob("*.py") if path.relative_to(TRAIN).parts[0].removesuffix(".py") in RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TRAIN)))
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(TRAIN).parts[0].removesuffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("aasp_features.train."):
            other = node.module.split(".")[2]
            assert other == own or RANK.get(other, 5) < RANK[own], f"{path.name} ({own}) must not import {other}"
