"""What is told of a stage that failed, and whether trying again may help."""

from pathlib import Path

import pytest
import torch

from offsite.errors import InputError, StorageError
from offsite.events import failure
from offsite.stages import work
from offsite_testing.parties import EMULATOR, distill, lay_out


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
    assert (told["event"], told["reason"]) == ("failed", type(error).__name__)
    assert told["retryable"] is again


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, MemoryError])
def test_what_does_not_fit_into_the_device_says_what_to_make_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def too_large(*_: object) -> None:
        raise kind("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(work, "make_emulator", too_large)
    with pytest.raises(InputError, match=r"Tried to allocate 20\.00 GiB; make batchSize"):
        lay_out(tmp_path).run(EMULATOR, distill())
