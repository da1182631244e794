"""Names settings by what distinguishes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from offsite.frontier.points import Point
from offsite.frontier.sweep import Candidate


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
        words = {point.number: _words(point.setting) for point in points}
        known = {name: word for each in words.values() for name, word in each.items()}
        varied = [name for name in known if _varies(name, words.values())]
        shared = [word for name, word in known.items() if name not in varied]
        own = {
            number: _joined([each[n] for n in varied if n in each])
            for number, each in words.items()
        }
        return cls(_joined(shared), own)


def describe(setting: Candidate) -> str:
    """Name a setting by all its fields."""
    return _joined([*_words(setting).values()])


def _varies(name: str, settings: Collection[Mapping[str, str]]) -> bool:
    """Return whether settings differ in a field. One without distillation has no field of it."""
    optional = name.startswith("training.")
    return len({each.get(name) for each in settings if name in each or not optional}) > 1


def _joined(words: Sequence[str]) -> str:
    return ", ".join(words)


def _words(setting: Candidate) -> dict[str, str]:
    """Return the words for each field of a setting, by its path in the job."""
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
    distillation = setting.training
    asked = distillation.model_dump(by_alias=True, exclude={"corpus", "steps"}, exclude_unset=True)
    trained = {f"training.{name}": f"{name} {value}" for name, value in asked.items()}
    return {**words, "training": f"distilled {distillation.steps}", **trained}
