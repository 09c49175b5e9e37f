"""What the commands share: errors become one sentence and an exit code."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from aasp_features.errors import AaSPError


class SentenceCommand(TyperCommand):
    """A command that ends with an error's own sentence and exit code; other exceptions are bugs, and show as such.

    Attributes:
        program: what the sentences begin with.
    """

    program = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Understand the arguments; a value that is not accepted is a sentence, too."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            typer.echo(f"{self.program}: {error.format_message().rstrip('.')}.", err=True)
            raise typer.Exit(2) from error

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except AaSPError as error:
            typer.echo(f"{self.program}: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            typer.echo(f"{self.program}: {str(error) or 'interrupted.'}", err=True)
            raise typer.Exit(130) from error
