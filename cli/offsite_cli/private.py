"""`offsite private`: a party's own store in S3, where jobs on a cluster find models and data.

`OFFSITE_PRIVATE_ENDPOINT`, `_CREDENTIALS` (a file), `_REGION`, `_CA` and `_STYLE` describe it; of
its server's administrator, who sets it up, `OFFSITE_ADMIN_…` do.
"""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.events import Monitor
from offsite.store import whole_folder
from offsite.store.admin_api import NoAdminError
from offsite.store.open import s3_store
from offsite.store.own import provide
from offsite.store.policies import bucket_policy
from offsite.store.private_store import PrivateStore
from offsite_cli.output import Output, monitored, show_info, show_json, show_text

app = typer.Typer(
    name="private",
    help="Manage your own store of models and data in S3.",
    no_args_is_help=True,
)

Place = Annotated[str, typer.Argument(help="s3://bucket/path")]


@app.command("init")
def init(
    bucket: Annotated[str, typer.Argument(help="s3://bucket, of this store alone.")],
    credentials: Annotated[
        Path, typer.Option(help="The file for the keys of the account that jobs use.")
    ],
    reissue: Annotated[
        bool,
        typer.Option("--reissue", help="Make another account; the former one and its keys end."),
    ] = False,
) -> None:
    """Make the bucket, and an account that may use it and nothing else of its server.

    It can be run again at any time. Where the store has no admin API of MinIO, the account's policy
    is printed, for its administrator to set.
    """
    store = s3_store(bucket, "OFFSITE_ADMIN", os.environ)
    try:
        account = provide(store, credentials, reissue)
    except NoAdminError as error:
        show_info(
            f"{error}; {bucket} is made, and this is the policy of the account that jobs use:"
        )
        show_json(bucket_policy(store.bucket))
        return
    if account is not None:
        show_text(f"{credentials} holds the keys of {account}; keep it private")
    show_text(f"{bucket} is ready")


@app.command("put")
def put(
    source: Annotated[Path, typer.Argument(help="A file, or a folder: the files in it.")],
    place: Place,
) -> None:
    """Write a file, or a folder's files, below a place in the store."""
    with monitored(Output.TEXT) as monitor:
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        files = [path for path in files if path.is_file()]
        if not files:
            raise InputError(f"there is no file at {source}")
        _put(files, place.rstrip("/"), monitor)
    show_text(f"{place}: {len(files)} files")


def _put(files: list[Path], place: str, monitor: Monitor) -> None:
    tracker = monitor.track("put", len(files))

    def done() -> None:
        tracker.advance()
        monitor.check()

    with TemporaryDirectory() as scratch:
        private_store = PrivateStore(Path(scratch), None, os.environ)
        for path in files:
            private_store.put(path, f"{place}/{path.name}")
            done()


@app.command("get")
def get(
    place: Place,
    folder: Annotated[Path, typer.Argument(help="Where to put the files; must not be there yet.")],
) -> None:
    """Copy the files at a place in the store to a folder."""
    if folder.exists():
        raise InputError(f"{folder} already exists; choose another folder")
    with TemporaryDirectory() as scratch:
        found = PrivateStore(Path(scratch), None, os.environ).folder(place.rstrip("/"), ("*",))
        with whole_folder(folder) as target:
            for path in found.iterdir():
                shutil.move(path, target / path.name)
    show_text(f"{folder}: {sum(1 for _ in folder.iterdir())} files")


@app.command("list")
def list_(place: Place) -> None:
    """List the files at a place: bytes and name."""
    with TemporaryDirectory() as scratch:
        found = PrivateStore(Path(scratch), None, os.environ).sizes(place.rstrip("/"))
    if not found:
        show_info(f"no files at {place}")
    for name, size in sorted(found.items()):
        show_text(f"{size:>12}  {name}")
