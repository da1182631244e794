"""What a check found: one line each, with the remedy where something is wrong."""

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warn", "fail", "skip"]


class Finding(NamedTuple):
    """What one check found."""

    check: str
    verdict: Verdict
    """`skip`: it cannot be seen from here, whoever asks."""
    message: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """Say it in a line."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{self.verdict:4}  {self.check}: {self.message}{remedy}"


def exit_code(findings: list[Finding]) -> int:
    """Give the exit code: 1, a retry may help once the remedy is taken, if a check failed."""
    return int(any(each.verdict == "fail" for each in findings))
