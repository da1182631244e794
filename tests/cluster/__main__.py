"""`python -m cluster`: a node for a developer, who ends it when done."""

import sys
import time

import typer
from filelock import Timeout

from cluster import binaries, debian, images, machine
from cluster.lifecycle import ensure, remove, remove_dead
from cluster.node import Node, all_nodes

_NAME = "dev"

app = typer.Typer(help="A Kubernetes of one node on this machine.", no_args_is_help=True)


@app.command()
def build() -> None:
    """Install and build every program that a node needs."""
    machine.check()
    debian.install()
    for program in binaries.PROGRAMS:
        typer.echo(f"{program.__name__}: ", nl=False, err=True)  # the first build takes minutes
        typer.echo(program(), err=True)


@app.command()
def up() -> None:
    """Start the node, unless it runs, and leave it running."""
    build()
    began = time.monotonic()
    node = ensure(_NAME)
    typer.echo(f"# ready after {time.monotonic() - began:.0f} s")
    typer.echo(f"export KUBECONFIG={node.kubeconfig}\nexport PATH={node.folder}/bin:$PATH")


@app.command()
def down() -> None:
    """End the node; remove it, and all that killed runs of tests left behind."""
    remove(Node(_NAME))
    for node in remove_dead():
        typer.echo(f"removed what was left of node {node.name} in {node.home}")
    for name in images.sweep():
        typer.echo(f"removed image {name}")


@app.command()
def status() -> None:
    """List the nodes that are there."""
    for node in all_nodes():
        state = "runs" if node.is_ready else "starts" if node.first_process else "ended"
        typer.echo(f"{node.name}\t{state}\t{node.kubeconfig}")


if __name__ == "__main__":
    try:
        app()
    except RuntimeError as error:
        sys.exit(f"cluster: {error}")
    except Timeout:
        sys.exit("cluster: somebody else is starting or ending the node: try again")
