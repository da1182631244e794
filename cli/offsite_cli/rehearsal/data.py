"""The flags of a rehearsal's data, and its splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.rehearsal import Splits
from offsite.rows import DataFile, holds_images
from offsite.store import privately, whole_folder
from offsite_cli.demo.pictures import split_folder, write_pictures
from offsite_cli.demo.splits import split_file, write_splits

_SEED = 0
"""Of the split. Repetitions with other seeds have the same data."""


@dataclass(frozen=True)
class StandInOptions:
    """Stand-in data for the private data of the peer."""

    data: Annotated[
        str | None,
        typer.Option(
            help="Data to split into train, validation and test: .jsonl or .txt, or a folder of "
            "images that ends in / and has a subfolder for each class."
        ),
    ] = None
    train: Annotated[str | None, typer.Option(help="Data to tune on, instead of --data.")] = None
    validation: Annotated[
        str | None, typer.Option(help="Data that selects the best checkpoint.")
    ] = None
    test: Annotated[str | None, typer.Option(help="Data that all models are scored on.")] = None
    corpus: Annotated[
        str | None,
        typer.Option(help="Your own text or images, to heal and distill the emulator on."),
    ] = None

    def splits(self, folder: Path) -> Splits:
        """Locate the data sets, and split `data` into files in a folder.

        Raises:
            InputError: flags are missing, or exclude each other.
            DataError: `data` cannot be split.
        """
        corpus = None if self.corpus is None else _located(self.corpus)
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        if self.data is None:
            if missing := [f"--{name}" for name, place in given.items() if place is None]:
                raise InputError(f"missing {', '.join(missing)}; set them, or --data to split it")
            train, validation, test = (_located(str(place)) for place in given.values())
            return Splits(train, validation, test, corpus)
        if named := [f"--{name}" for name, place in given.items() if place is not None]:
            raise InputError(f"--data stands for {', '.join(named)}; remove it, or those")
        train, validation, test = _split(_located(self.data), folder)
        return Splits(train, validation, test, corpus)


def _located(place: str) -> DataFile:
    return DataFile(Path(place).expanduser(), place)


def _split(data: DataFile, folder: Path) -> list[DataFile]:
    images = holds_images(data)
    if images and not data.is_folder:
        raise InputError(
            f"--data {data.name} cannot be split; set --train, --validation and --test"
        )
    with privately(), whole_folder(folder) as partial:
        if images:
            write_pictures(partial, split_folder(data.path, _SEED))
        else:
            write_splits(partial, split_file(data.path, _SEED))
    names = (f"{name}{'/' if images else '.jsonl'}" for name in ("train", "validation", "test"))
    return [DataFile(folder / name, str(folder / name) + ("/" if images else "")) for name in names]
