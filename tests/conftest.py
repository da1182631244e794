"""What is to be done before the first test, whatever the tests are."""

import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir

import pytest
from hypothesis import settings

# a busy machine is no failure
settings.register_profile("offsite", deadline=None)
settings.load_profile("offsite")


def pytest_collection_finish() -> None:
    """Have the server of commands ready, if any test runs commands."""
    if command := sys.modules.get("offsite_testing.command"):
        command.warm_up()


@pytest.fixture(scope="session", autouse=True)
def _temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have temporary files go with the tests, also those of processes that were killed."""
    tmp_path_factory.getbasetemp()  # what tests write stays for a look at it
    get_temp_dir()  # what goes with this process, and only then
    with (
        tempfile.TemporaryDirectory(prefix="offsite-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Have the commands that tests start train in one thread: tests run beside each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # idle ones would spin on cores that others need
        yield
