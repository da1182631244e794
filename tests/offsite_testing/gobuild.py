"""Programs that tests run, each built once from a pinned Go module.

A folder below `tests/tools` pins each with its `go.mod` and `go.sum`. What was built is kept below
`~/.cache/offsite-tuning/tools`, under a name with the digest of its folder.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

TOOLS = Path(__file__).parents[1] / "tools"


@dataclass(frozen=True)
class GoProgram:
    """A program and how to build it."""

    name: str
    """Also that of its folder, and of the command that is looked for on the PATH."""
    package: str = "."
    version: tuple[str, ...] = ()
    """Arguments that make it tell its version; none: what stands on the PATH is never taken."""
    expected: str = ""
    """A pattern in that answer, without which another version stands on the PATH."""
    stamps: tuple[tuple[str, str], ...] = ()
    """Variables that the linker sets, with their values."""

    @property
    def folder(self) -> Path:
        """Where its `go.mod` is."""
        return TOOLS / self.name

    @property
    def variable(self) -> str:
        """The variable of the environment that may name it."""
        return f"OFFSITE_{self.name.upper().replace('-', '_')}"


def find(program: GoProgram) -> Path:
    """Find a program where its variable says, on the PATH or in the cache, or build it.

    Raises:
        RuntimeError: it is not there and cannot be built.
    """
    if named := os.environ.get(program.variable):
        return Path(named).absolute()
    found = on_path(program.name, program.version, program.expected) if program.version else None
    return found or kept(program, program.name, partial(_build, program))


def on_path(command: str, version: tuple[str, ...], expected: str) -> Path | None:
    """Find a command on the PATH that tells the version that is expected.

    Args:
        version: arguments that make it tell.
        expected: a pattern in what it tells.
    """
    found = shutil.which(command)
    if found is None:
        return None
    answer = subprocess.run([found, *version], capture_output=True, text=True)
    told = answer.stdout + answer.stderr  # some tell it there
    return Path(found) if answer.returncode == 0 and re.search(expected, told) else None


def kept(program: GoProgram, name: str, make: Callable[[Path], None]) -> Path:
    """Give what was made from a program's folder, and have it made where it is not in the cache.

    Args:
        name: tells apart what is made from the same folder.
        make: makes a file or a folder at the path that it is given.
    """
    target = cache() / "tools" / f"{name}-{_digest(program)}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():  # another process may have made it meanwhile
                scratch = target.with_suffix(".partial")
                make(scratch)
                scratch.replace(target)
    return target


def module_folder(program: GoProgram, module: str) -> Path:
    """Find the sources of a module that a program is built from, downloaded if need be.

    Raises:
        RuntimeError: they cannot be had.
    """
    _go(program, "mod", "download", module)
    return Path(_go(program, "list", "-m", "-f", "{{.Dir}}", module).strip())


def cache() -> Path:
    """Name the folder for all that tests keep from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "offsite-tuning"


def _digest(program: GoProgram) -> str:
    digest = hashlib.sha256(repr((program.package, program.stamps)).encode())
    for path in sorted(program.folder.iterdir()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _build(program: GoProgram, target: Path) -> None:
    stamps = [f"-X {variable}={value}" for variable, value in program.stamps]
    options = ["-trimpath", "-ldflags", " ".join(["-s", "-w", *stamps])]
    _go(program, "build", *options, "-o", str(target), program.package)


def _go(program: GoProgram, *arguments: str) -> str:
    name = program.name
    remedy = (
        "install Go 1.25 or newer (the package golang, where it is new enough, or go.dev/dl), "
        f"or name a {name} in {program.variable}"
    )
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(f"the tests need {name}, and Go to build it: {remedy}")
    known = {**os.environ, "CGO_ENABLED": "0"}
    command = [go, *arguments]
    done = subprocess.run(command, cwd=program.folder, env=known, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{name} could not be built; {remedy}:\n{done.stderr[-2000:]}")
    return done.stdout
