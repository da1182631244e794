"""What an emulator gives away of the full model's skill: untouched, attacked, and tuned."""

from dataclasses import asdict, dataclass
from functools import cached_property

from offsite.errors import DataError
from offsite.layers import load
from offsite.modality.uncertainty import share_of
from offsite.recovery import HOW, Attacker, Budget, Held
from offsite.rehearsal import Gain, Rehearsed, Setting
from offsite.rehearsal.emulator import make_emulator
from offsite.rehearsal.subject import Subject
from offsite.release.capability import Capability
from offsite.wire import Part

_DATA = ("test", "corpus")
TEST = "test"
"""The name of the test set among those that skill is measured on."""


class Leak(Part):
    """What attacks recover from an emulator."""

    found: tuple[Capability, ...]
    """By attack and test set. The attack `Nothing` is the untouched emulator."""

    @property
    def untouched(self) -> Capability:
        """The capability of the untouched emulator with the largest share."""
        return max((e for e in self.found if e.how == "Nothing"), key=lambda each: each.share)

    @property
    def recovered(self) -> Capability:
        """The capability with the largest share."""
        return max(self.found, key=lambda each: each.share)


@dataclass(frozen=True)
class Leaks:
    """Measures what emulators of one model give away, and keeps what it found.

    Skill is measured on the test set, and on held-out examples of the corpus.
    """

    subject: Subject
    budget: Budget

    def of_emulator(self, setting: Setting) -> Leak:
        """Attack the emulator of a setting.

        Raises:
            DataError: The full model has no skill on the test set.
            InterruptedStage: A signal came; the attacks on this emulator begin anew next time.
        """
        facts = self.subject.facts(
            "leak", *_DATA, **setting.of_emulator, budget=asdict(self.budget), attacks=[*HOW]
        )

        def make(_: str) -> Leak:
            attacker = self._attacker  # before the emulator, which can take long
            emulator = make_emulator(self.subject, setting)
            blocks = emulator.made.record.blocks
            middle = [place for place, block in enumerate(blocks) if not block.end]
            held = Held(load(emulator.folder), middle)
            return Leak(found=attacker.measure({"Emulator": held}, self.subject.monitor))

        return self.subject.kept.once(Leak, facts, make)

    def of_tuned(self, run: Rehearsed) -> Gain:
        """Compute the skill of the tuned emulator on the test set."""
        facts = self.subject.facts("tuned skill", *_DATA, rehearsed=run.digest)

        def make(_: str) -> Gain:
            test = self._attacker.yardstick.tests[TEST]
            tuned = test.bench.skill(run.models["emulator_tuned"].tensor)
            share = share_of(test.chance, tuned, test.full)
            assert share is not None, "the full model is better than chance"
            return Gain(value=share.value, interval=share.interval)

        return self.subject.kept.once(Gain, facts, make)

    @cached_property
    def _attacker(self) -> Attacker:
        """Read the data and measure the full model: once, and only if a figure is missing."""
        data, monitor = self.subject.data, self.subject.monitor
        assert data.corpus is not None, "a sweep has a corpus"
        full, tests = load(self.subject.model), {TEST: data.test}
        attacker = Attacker.of(full, data.corpus, tests, self.budget, monitor)
        if TEST not in attacker.yardstick.tests:
            raise DataError(
                f"{data.test.name}: the full model is no better than chance on it, so nothing can "
                "be said of the skill that an emulator keeps; use other data"
            )
        return attacker
