"""The file of a measurement: what was measured so far, so that an interrupted one resumes."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offsite.store import write_whole

Row = dict[str, Any]
TITLES = {
    "full_fine_tuning": "full fine-tuning",
    "lora_full_model": "LoRA, full model",
    "offsite_blocks": "offsite tuning (OT)",
    "offsite_lora_ends": "OT + LoRA in the ends",
    "offsite_lora_all": "OT + LoRA in all blocks",
}
"""Titles of the cases: the four of the paper, and what a Tune job trains by default."""
_BASES = {"full": "full_fine_tuning", "lora": "lora_full_model"}
"""The cases that the others are compared with."""


@dataclass(frozen=True)
class Results:
    """A JSON file of `settings`, and of one row for each measurement."""

    path: Path
    settings: Mapping[str, Any]

    def rows(self) -> list[Row]:
        """Read what was measured.

        Raises:
            SystemExit: the file is of a measurement with other settings.
        """
        if not self.path.exists():
            return []
        content = json.loads(self.path.read_bytes())
        if content["settings"] != self.settings:
            raise SystemExit(
                f"{self.path} was measured with other settings: {content['settings']}; delete it, "
                "or name another file with --output"
            )
        rows: list[Row] = content["measured"]
        return rows

    def add(self, row: Row) -> None:
        """Write one more measurement, and the summary of all."""
        rows = [*self.rows(), row]
        content = {"settings": self.settings, "measured": rows, "summary": list(summarized(rows))}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(content, indent=1).encode())


def summarized(rows: Sequence[Row]) -> Iterator[Row]:
    """Summarize the rounds of each case: medians, and medians of the ratios within each round.

    Ratios are better the larger they are: `times_…` of the tokens a second, and `less_than_…` of
    the memory.
    """
    groups = defaultdict[tuple[str, int], dict[str, dict[int, Row]]](lambda: defaultdict(dict))
    for row in rows:
        groups[row["shape"], row["batch"]][row["case"]][row["round"]] = row
    for (shape, batch), cases in groups.items():
        for case, rounds in cases.items():
            found = {"shape": shape, "batch": batch, "case": case, "rounds": len(rounds)}
            yield found | _summary(rounds, cases)


def _summary(rounds: Mapping[int, Row], cases: Mapping[str, Mapping[int, Row]]) -> Row:
    good = {number: row for number, row in rounds.items() if "failed" not in row}
    if not good:
        return {"failed": next(iter(rounds.values()))["failed"]}
    found = {
        key: statistics.median(row[key] for row in good.values())
        for key in ("tokens_per_second", "step_seconds", "peak_mib", "libraries_mib")
    }
    for name, base in _BASES.items():
        pairs = [
            (row, other)
            for number, row in good.items()
            if "failed" not in (other := cases.get(base, {}).get(number, {"failed": ""}))
        ]
        for key, ratio in _RATIOS.items():
            value = statistics.median(ratio(*pair) for pair in pairs) if pairs else None
            found[f"{key}_{name}"] = value
    return found


def _own(row: Row) -> float:
    """Return the memory of a training without that of the libraries."""
    own: float = row["peak_mib"] - row["libraries_mib"]
    return own


_RATIOS: dict[str, Callable[[Row, Row], float]] = {
    "times": lambda row, base: row["tokens_per_second"] / base["tokens_per_second"],
    "less_than": lambda row, base: base["peak_mib"] / row["peak_mib"],
    "less_without_libraries_than": lambda row, base: _own(base) / _own(row),
}
