"""Commands that are imported when they are called.

`offsite --help`, and every press of the tab key, would otherwise import all that any command needs.
"""

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class LazyGroup(TyperGroup):
    """A group that knows of each command its name, its one line of help, and where it stands."""

    table: ClassVar[dict[str, tuple[str, str]]]
    """By name: `module:object` below this package, an app or a function; its help in a sentence."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in self.table.items():
            self.add_command(TyperCommand(name, callback=None, help=line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that is called, or completed; only that one is imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name, self.table[name][0]) if name and command else None, rest


def load(name: str, place: str) -> Any:
    """Import a command from where it stands."""
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"offsite_cli.{module}"), attribute)
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    around.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]
