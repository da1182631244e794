"""Runs the tests of a device in a process of their own."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

_TESTS = "tests/offsite/test_device.py"


def tested(root: Path, device: str, seconds: float, *arguments: str) -> list[dict[str, str]]:
    """Run the tests; return the outcome of each, and the message of one that did not pass.

    Args:
        seconds: how long they may take.
    """
    marker = "gpu" if device == "cuda" else "not gpu"
    with tempfile.TemporaryDirectory(prefix="offsite-gpu-") as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", _TESTS, "-m", marker, f"--junit-xml={report}"]
        # a warning of another version of a library is no failure here
        command += ["-p", "no:cacheprovider", "-W", "default", *arguments]
        try:
            subprocess.run(command, cwd=root, stdout=sys.stderr, timeout=seconds)
        except subprocess.TimeoutExpired:
            return [{"name": _TESTS, "outcome": "failure", "message": "out of time"}]
        if not report.exists():
            return [{"name": _TESTS, "outcome": "failure", "message": "pytest wrote no report"}]
        return list(_outcomes(ElementTree.parse(report)))


def _outcomes(report: "ElementTree.ElementTree[ElementTree.Element]") -> Iterator[dict[str, str]]:
    for case in report.iter("testcase"):
        found = {"name": case.get("name", ""), "seconds": case.get("time", ""), "outcome": "passed"}
        for kind in ("skipped", "failure", "error"):
            if (bad := case.find(kind)) is not None:
                found |= {"outcome": kind, "message": bad.get("message", "")}
        yield found
