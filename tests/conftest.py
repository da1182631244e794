"""What is to be done before the first test, whatever the tests are."""

import sys


def pytest_collection_finish() -> None:
    """Have the server of commands ready, if any test runs commands."""
    if command := sys.modules.get("offsite_testing.command"):
        command.warm_up()
