"""Every error has one root, and tells commands how to end."""

import pickle

import pytest
from helpers import run_command
from typer import Typer

import aasp_features
from aasp_features import AaSPError, OptionError, folder
from aasp_features.command_line import SentenceCommand
from aasp_features.folder import InterruptedRun, WriteError


@pytest.mark.parametrize("module", [aasp_features, folder])
def test_public_errors_are_aasp_errors(module: object) -> None:
    errors = [getattr(module, name) for name in module.__all__ if name.endswith("Error")]
    assert len(errors) >= 4
    for error in errors:
        assert issubclass(error, AaSPError)
        assert error.exit_code in (1, 2)
    assert WriteError.exit_code == 1
    assert not issubclass(InterruptedRun, Exception)  # as KeyboardInterrupt: loops that live through errors end


class Greeting(SentenceCommand):
    """A command of some program."""

    program = "greet"


@pytest.mark.parametrize(
    ("error", "code", "shown"),
    [
        (AaSPError("give a name."), 2, "greet: give a name.\n"),
        (OptionError("must be 1, got 0.", option="last_layers"), 2, "greet: --last-layers must be 1, got 0.\n"),
        (OptionError("give a name."), 2, "greet: give a name.\n"),
        (WriteError("the disk is full."), 1, "greet: the disk is full.\n"),
        (InterruptedRun("interrupted; 3 are done."), 130, "greet: interrupted; 3 are done.\n"),
        (KeyboardInterrupt(), 130, "greet: interrupted.\n"),
    ],
)
def test_commands_end_with_the_sentence(error: BaseException, code: int, shown: str) -> None:
    app = Typer()

    @app.command(cls=Greeting)
    def greet() -> None:
        raise error

    done = run_command(app)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", shown)


def test_options_have_the_names_of_python_and_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(OptionError("must be 1, got 0.", option="last_layers")))
    assert (str(error), error.option) == ("last_layers must be 1, got 0.", "last_layers")


def test_bugs_are_not_hidden() -> None:
    app = Typer()

    @app.command(cls=Greeting)
    def greet() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(app)
