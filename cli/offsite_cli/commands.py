"""The commands of `offsite`, which are imported only when they are called.

Otherwise `offsite --help`, and every completion in the shell, would import everything that any
command needs.
"""

import importlib
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class Commands(TyperGroup):
    """The commands by name: `module:object` in this package, and the line for the help.

    They are listed in the order of the help. A test compares each line with the command's own.
    """

    table: ClassVar[dict[str, tuple[str, str]]] = {
        "run": ("run:run", "Run the stage of a job file on this machine."),
        "plan": (
            "plan.command:plan",
            "Compute the memory, time and bytes that a job will need, before anything is loaded.",
        ),
        "demo": ("demo.command:demo", "Run all three stages here, on a real model and data."),
        "evaluate": (
            "rehearsal.command:evaluate",
            "Rehearse all three stages here, on stand-in data, and show what the adapter gains.",
        ),
        "frontier": (
            "frontier.command:frontier",
            "Compare emulators of a model here: what each gains, gives away, and costs.",
        ),
        "runs": ("runs.commands:app", "Show the records of runs on this machine."),
        "report": (
            "report.command:report",
            "Write a report of an exchange: what each party gained and gave away.",
        ),
        "submit": (
            "cluster.submit.commands:app",
            "Submit a job, from flags or from a file: -f FILE.",
        ),
        "list": ("cluster.get:list_", "List jobs."),
        "get": ("cluster.get:get", "Show the state of jobs, its reason, and their results."),
        "watch": (
            "cluster.watch:watch",
            "Watch a job until it ends.",
        ),
        "logs": ("cluster.logs:logs", "Show the logs of a job's pods, also of pods that are gone."),
        "events": (
            "cluster.events:events",
            "Show the events of a job and its pods, newest last.",
        ),
        "egress": (
            "cluster.approval:egress",
            "Show exactly what a job is about to send, or sent, to its peer.",
        ),
        "approve": (
            "cluster.approval:approve",
            "Let a job send what its egress report says, and nothing else.",
        ),
        "reject": (
            "cluster.approval:reject",
            "Fail a job that waits for an approval.",
        ),
        "cancel": ("cluster.lifecycle:cancel", "Stop jobs for good, and keep their records."),
        "suspend": ("cluster.lifecycle:suspend", "Pause jobs."),
        "resume": ("cluster.lifecycle:resume", "Continue suspended jobs."),
        "retry": ("cluster.lifecycle:retry", "Run failed or cancelled jobs again."),
        "delete": ("cluster.lifecycle:delete", "Delete jobs and their pods."),
        "doctor": (
            "cluster.doctor.command:doctor",
            "Check that the cluster and the namespace have what jobs need.",
        ),
        "keys": ("keys:app", "Manage your own keys."),
        "peers": ("peers:app", "Manage the public keys of other parties."),
        "bundles": ("bundles:app", "Manage the encrypted bundles in the exchange."),
        "attack": ("attack:app", "Attack your own emulators, to know what they give away."),
        "exchange": (
            "exchange:app",
            "Set up an exchange in S3: its bucket and its accounts.",
        ),
        "private": (
            "private:app",
            "Manage your own store of models and data in S3.",
        ),
    }

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, line) in self.table.items():
            self.add_command(TyperCommand(name, callback=None, help=line, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is called or completed, and no other."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name, self.table[name][0]) if name and command else None, rest


def load(name: str, place: str) -> Any:
    """Import a command from its place in the table."""
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"offsite_cli.{module}"), attribute)
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    around.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]
