"""`offsite private`: a party's own store in S3, for the models and data of jobs on a cluster.

`OFFSITE_PRIVATE_ENDPOINT`, `_CREDENTIALS` (a file), `_REGION`, `_CA` and `_STYLE` configure it.
`offsite private init` uses `OFFSITE_ADMIN_…`, the account of the server's administrator.
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

StoreUri = Annotated[str, typer.Argument(help="Location in the store: s3://bucket/path")]


@app.command("init")
def init(
    bucket: Annotated[str, typer.Argument(help="Bucket for this store only: s3://bucket")],
    credentials: Annotated[
        Path, typer.Option(help="File to write the credentials of the jobs' account to.")
    ],
    reissue: Annotated[
        bool,
        typer.Option("--reissue", help="Replace the account; the former credentials stop working."),
    ] = False,
) -> None:
    """Create the bucket, and an account that may use only this bucket.

    You can run it again at any time. On a store without MinIO's admin API, the command prints the
    policy of the account for its administrator to set.
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
        show_text(f"{credentials} contains the credentials of {account}; keep it private")
    show_text(f"{bucket} is ready")


@app.command("put")
def put(
    source: Annotated[Path, typer.Argument(help="File, or folder whose files to copy.")],
    place: StoreUri,
) -> None:
    """Copy a file, or the files of a folder, to a location in the store."""
    with monitored(Output.TEXT) as monitor:
        files = sorted(source.iterdir()) if source.is_dir() else [source]
        files = [path for path in files if path.is_file()]
        if not files:
            raise InputError(f"there is no file {source}, and no folder of that name with files")
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
    place: StoreUri,
    folder: Annotated[Path, typer.Argument(help="Folder to create for the files.")],
) -> None:
    """Copy the files at a location in the store to a new folder."""
    if folder.exists():
        raise InputError(f"{folder} already exists; choose another folder")
    with TemporaryDirectory() as scratch:
        found = PrivateStore(Path(scratch), None, os.environ).folder(place.rstrip("/"), ("*",))
        with whole_folder(folder) as target:
            for path in found.iterdir():
                shutil.move(path, target / path.name)
    show_text(f"{folder}: {sum(1 for _ in folder.iterdir())} files")


@app.command("list")
def list_(place: StoreUri) -> None:
    """List the files at a location, with their sizes in bytes."""
    with TemporaryDirectory() as scratch:
        found = PrivateStore(Path(scratch), None, os.environ).sizes(place.rstrip("/"))
    if not found:
        show_info(f"no files at {place}")
    for name, size in sorted(found.items()):
        show_text(f"{size:>12}  {name}")
