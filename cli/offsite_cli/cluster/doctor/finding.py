"""The result of one check: a verdict, a message and a remedy."""

from typing import Literal, NamedTuple

Verdict = Literal["ok", "warn", "fail", "skip"]


class Finding(NamedTuple):
    """The result of one check."""

    check: str
    verdict: Verdict
    """`skip`: this command cannot check it, with any permission."""
    message: str
    remedy: str = ""

    @property
    def line(self) -> str:
        """Format the finding in one line."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return f"{self.verdict:4}  {self.check}: {self.message}{remedy}"


def exit_code(findings: list[Finding]) -> int:
    """Return 1 if a check failed, otherwise 0."""
    return int(any(each.verdict == "fail" for each in findings))
