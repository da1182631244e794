"""What a failed stage reports, and whether a retry may help."""

import json
from pathlib import Path

import pytest
import torch

from offsite.bundle import MANIFEST, read_manifest
from offsite.errors import BundleError, InputError, StorageError
from offsite.events import failure
from offsite.stages import work
from offsite_testing.parties import EMULATOR, distill, new_parties


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StorageError("away"), True),
        (InputError("wrong"), False),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), True),
        (OSError(116, "Stale file handle"), True),
        (MemoryError(), True),
        (KeyError("a bug"), False),
        (TypeError("a bug"), False),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_retry_may_mend_what_is_outside_of_the_code(error: Exception, again: bool) -> None:
    told = failure(error)
    assert (told.event, told.reason) == ("failed", type(error).__name__)
    assert told.retryable is again


def test_what_a_peer_wrote_changes_nothing_that_a_terminal_shows(tmp_path: Path) -> None:
    known = dict.fromkeys(("name", "madeBy", "madeFor", "architecture", "dtype"), "lab")
    (tmp_path / MANIFEST).write_text(json.dumps({**known, "\x1b[2J\u202e\noffsite: pinned": 1}))
    with pytest.raises(BundleError) as raised:
        read_manifest(tmp_path)
    said = str(raised.value)
    assert said.isprintable()
    assert r"\x1b[2J\u202e\noffsite: pinned" in said
    assert failure(raised.value).message == said


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_names_what_to_reduce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def too_large(*_: object) -> None:
        raise kind("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(work, "make_emulator", too_large)
    with pytest.raises(InputError, match=r"Tried to allocate 20\.00 GiB; make batchSize"):
        new_parties(tmp_path).run(EMULATOR, distill())
