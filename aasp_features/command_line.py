"""What all commands share: an error ends a command with one sentence and an exit code, and help has groups."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from aasp_features.errors import AaSPError, OptionError


class SentenceCommand(TyperCommand):
    """A command that ends with an error's sentence and exit code; other exceptions are bugs and keep their traceback.

    Attributes:
        program: name that begins each sentence.
    """

    program = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; end with a sentence if a value is not accepted."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            raise self.ended(f"{error.format_message().rstrip('.')}.", 2) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command; options are named as flags in the sentence that ends it."""
        try:
            return super().invoke(ctx)
        except AaSPError as error:
            sentence = error.flagged if isinstance(error, OptionError) else str(error)
            raise self.ended(sentence, error.exit_code) from error
        except KeyboardInterrupt as error:
            raise self.ended(str(error) or "interrupted.", 130) from error

    def ended(self, sentence: str, code: int) -> typer.Exit:
        """Print the sentence on stderr; return the exception that ends the command."""
        typer.echo(f"{self.program}: {sentence}", err=True)
        return typer.Exit(code)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options under the names of their ``rich_help_panel``, as plain text."""
        groups: dict[str, list[tuple[str, str]]] = {"Arguments": []}
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(record)
        for title, records in filter(lambda group: group[1], groups.items()):
            with formatter.section(title):
                formatter.write_dl(records)
