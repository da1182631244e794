"""Names settings by what distinguishes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from offsite.frontier.points import Point


@dataclass(frozen=True)
class Titles:
    """The words for each setting of a sweep, apart from those that all settings share."""

    shared: str
    """What all settings have in common."""
    each: dict[int, str]
    """What distinguishes a setting, by its number."""

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Titles":
        """Name the settings of a sweep."""
        words = {point.number: _words(point) for point in points}
        names = dict.fromkeys(name for each in words.values() for name in each)
        varied = [n for n in names if len({each.get(n, "") for each in words.values()}) > 1]
        shared = [n for n in names if n not in varied]
        first = words[points[0].number]
        own = {
            number: _joined([each[n] for n in varied if n in each])
            for number, each in words.items()
        }
        return cls(_joined([first[n] for n in shared]), own)


def _joined(words: Sequence[str]) -> str:
    return ", ".join(words)


def _words(point: Point) -> dict[str, str]:
    """Return the words for each field of a setting, by its path in the job."""
    setting = point.setting
    section, ends = setting.emulator, setting.ends
    healing = {None: "healed where possible", True: "healed", False: "not healed"}
    words = {
        "method": section.method,
        **{f"emulator.{name}": f"{name} {value}" for name, value in section.parameters.items()},
        "ends": f"ends {ends.bottom} + {ends.top}",
        "heal": healing[section.heal],
    }
    if setting.training is None:
        return {**words, "training": "not distilled"}
    fields = setting.training.model_dump(by_alias=True, exclude={"corpus", "steps"})
    told = {f"training.{name}": f"{name} {value}" for name, value in fields.items() if value}
    return {**words, "training": f"distilled {setting.training.steps} steps", **told}
