"""Format an egress report for people. It is read as plain JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from offsite_cli.tables import align


def report_lines(report: Mapping[str, Any], state: Mapping[str, Any]) -> list[str]:
    """Return the page of a report.

    Args:
        state: The job's `state`, and who approved the report, as far as they are known.
    """
    tensors, files = report["tensors"], report["files"]
    count = sum(each["count"] for each in tensors)
    fields = {
        "Digest": report["digest"],
        "Sends": f"an {report['kind']} named {report['bundle']}",
        "From": report["sender"],
        "To": f"{report['recipient']}, with the keys {report['recipientKeys']}",
        "Answers": report.get("answers", ""),
        "Size": f"{_bytes(report)}, {_count(len(files), 'file')}, {_count(count, 'tensor')}",
        "Manifest": report["manifest"],
        "Job": report["job"],
        "State": state.get("state", ""),
        "Approved": _approval(state.get("approval") or {}),
    }
    return [
        *align([[f"{name}:", str(text)] for name, text in fields.items() if text]),
        *_section("Files:", ([f["name"], _bytes(f), f"sha256:{f['sha256']}"] for f in files)),
        *_section("Tensors:", map(_tensor, tensors)),
        *_section("Facts:", map(_fact, report.get("facts") or [])),
        *_section(
            "Figures, as the Work step measured them:", map(_fact, report.get("figures", []))
        ),
    ]


def _approval(approval: Mapping[str, Any]) -> str:
    if not approval:
        return ""
    return f"by {approval.get('approver')} at {approval.get('time', 'an unknown time')}"


def _tensor(tensor: Mapping[str, Any]) -> list[str]:
    shape = " x ".join(map(str, tensor["shape"])) or "scalar"
    return [tensor["name"], tensor["dtype"], shape, f"{tensor['count']} times", _bytes(tensor)]


def _fact(fact: Mapping[str, Any]) -> list[str]:
    return [fact["name"], fact["value"]]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _bytes(entry: Mapping[str, Any]) -> str:
    return f"{entry['sizeBytes']:,} bytes"


def _section(title: str, rows: Iterable[Sequence[str]]) -> list[str]:
    found = list(rows)
    return ["", title, *(f"  {line}" for line in align(found))] if found else []
