"""Run the code of README and documentation, as a reader would, in the working folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from aasp_features.cli import main as aasp_embed
from aasp_features.search_command import main as aasp_search
from aasp_features.train.cli import main as aasp_train

COMMANDS = {"aasp-embed": aasp_embed, "aasp-search": aasp_search, "aasp-train": aasp_train}


def code_blocks(page: Path) -> list[tuple[str, str]]:
    """Language and code of each fenced block of a page, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def run_block(language: str, code: str, names: dict[str, object]) -> None:
    """Run a block in the working folder; ``names`` are what the Python blocks of its page have defined."""
    assert language in ("python", "sh"), f"a block of {language} is not run"
    if language == "sh":
        run_shell(code)
    else:
        exec(compile(code, "<block>", "exec"), names)


def run_shell(code: str) -> None:
    """Run a block of shell. Plain calls of our own commands run in this process, which has imported torch already."""
    others = ""
    for line in code.replace("\\\n", " ").splitlines(keepends=True):
        if re.match(r"(\S*/)?pip install ", line):
            continue  # tests install nothing
        if line.startswith(tuple(COMMANDS)) and not shell_characters(line):
            run_bash(others)
            others = ""
            run_here(shlex.split(line, comments=True))
        else:
            others += line
    run_bash(others)


def shell_characters(line: str) -> bool:
    """Does a line hold more than one command and its arguments: a pipe, say?"""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return any(set(token) <= set("();<>|&") for token in lexer if token)


def run_here(arguments: list[str]) -> None:
    with mock.patch.object(sys, "argv", arguments), pytest.raises(SystemExit) as end:
        COMMANDS[arguments[0]]()
    assert not end.value.code, f"{arguments} ended with {end.value.code}"


def run_bash(code: str) -> None:
    if not code.strip():
        return
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
