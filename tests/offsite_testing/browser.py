"""A real browser without a window, for tests: Debian's Chromium, installed if it is missing.

OFFSITE_CHROMIUM and OFFSITE_CHROMEDRIVER name other programs.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from axe_selenium_python import Axe
from filelock import FileLock
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

_PROGRAMS = {"chromium": "chromium", "chromium-driver": "chromedriver"}
"""The packages of Debian, and their programs."""
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--no-first-run", "--disable-background-networking"),
)
_RULES = {"rules": {name: {"enabled": False} for name in ("dlitem", "definition-list")}}
"""This axe is older than the div in a dl that HTML allows."""
Scheme = Literal["light", "dark"]


@dataclass(frozen=True)
class Browser:
    """A browser with one page."""

    driver: Chrome

    def open(
        self, address: str, scheme: Scheme = "light", *, width: int = 1280, media: str = ""
    ) -> None:
        """Open a page, as a reader with these preferences sees it.

        Args:
            media: `print` shows it as on paper.
        """
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._tell("Emulation.setEmulatedMedia", {"media": media, "features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._tell("Emulation.setDeviceMetricsOverride", size)
        self.told()
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def requested(self) -> list[str]:
        """List the addresses that were requested since the page was opened, except its own."""
        found = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        asked = (each["params"] for each in found if each["method"] == "Network.requestWillBeSent")
        return [each["request"]["url"] for each in asked if each["type"] != "Document"]

    def told(self) -> list[str]:
        """List what the console says since it was last asked; forgets earlier requests, too."""
        self._log("performance")
        return [entry["message"] for entry in self._log("browser")]

    def console(self) -> list[str]:
        """List what the console says since the page was opened."""
        return [entry["message"] for entry in self._log("browser")]

    def faults(self) -> list[str]:
        """List what axe finds wrong with the page: contrast, landmarks, names and all else."""
        axe = Axe(self.driver)
        axe.inject()
        return [
            f"{rule['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for rule in axe.run(options=json.dumps(_RULES))["violations"]
            for node in rule["nodes"]
        ]

    def _tell(self, command: str, arguments: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, arguments)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run a browser.

    Raises:
        RuntimeError: it is not there and cannot be installed.
    """
    chromium, driver = _programs()
    options = Options()
    options.binary_location = chromium  # noqa: V101 - it reads it
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with Chrome(options=options, service=Service(driver)) as found:
        yield Browser(found)


def _programs() -> list[str]:
    with FileLock(Path(tempfile.gettempdir()) / f"offsite-chromium-{os.getuid()}.lock"):
        missing = [name for name, program in _PROGRAMS.items() if _found(program) is None]
        if missing:
            _install(missing)
    return [_found(program) or program for program in _PROGRAMS.values()]


def _found(program: str) -> str | None:
    return os.environ.get(f"OFFSITE_{program.upper()}") or shutil.which(program)


def _install(packages: list[str]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"tests of reports need a browser; install: {' '.join(packages)}")
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        ended = subprocess.run(
            ["apt-get", *arguments], env=environ, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise RuntimeError(f"apt-get {arguments[0]} failed: {ended.stderr}")
