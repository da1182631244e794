"""Audits an emulator before it is sent: how much of the full model's skill comes back from it."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from offsite.api import Distill, EmulatorRelease
from offsite.emulator import Compressed
from offsite.layers import Loaded
from offsite.recovery import Attacker, Budget, Held
from offsite.release.capability import Recovery, Subject, check_recovery, required_recovery
from offsite.stages.context import Context


@dataclass(frozen=True)
class RecoveryAudit:
    """The audit of one emulator, begun before it is trained."""

    context: Context
    full: Loaded
    attacker: Attacker
    release: EmulatorRelease
    """What the job and the organization require."""

    def check(self, made: Compressed, sent: Collection[int]) -> Recovery:
        """Attack the emulator, report all figures, and refuse what is not allowed.

        If emulators of this model were sent before, their union with this one is attacked, too. An
        interrupted audit begins anew.

        Args:
            sent: the full model's blocks that it and the emulators before it disclose together.

        Raises:
            ReleaseRefused: the emulator must not be published.
            InterruptedStage: a signal came.
        """
        monitor, emulator = self.context.monitor, replace(self.full, model=made.model)
        held: dict[Subject, Held] = {"Emulator": Held(emulator, made.middle)}
        if not {*sent} <= {block.full for block in made.blocks}:
            scratch = self.context.space.folder
            held["Union"] = self.attacker.union(self.full, sent, monitor, scratch)
        found = self.attacker.measure(held, monitor)
        recovery = Recovery(
            steps=self.release.recovery_steps, blocks=tuple(sorted(sent)), found=found
        )
        for each in found:
            monitor.metric("skill", each.setting, each.share, interval=each.interval)
        monitor.metric("skill", "recovered_most", recovery.highest.share)
        check_recovery(recovery, self.release)
        return recovery


def begin_recovery(context: Context, job: Distill, full: Loaded) -> RecoveryAudit | None:
    """Read what to attack with, and measure the full model; None: no audit is required.

    Raises:
        DataError: there is too little data, or the full model is no better than chance on it.
    """
    space, texts = context.space, context.inputs.texts
    release = required_recovery(space.party.limits.emulator_release, job.release)
    if release is None:
        return None
    data = texts.get("corpus", texts["calibration"])
    tests = {"evaluate": texts["evaluate"]} if "evaluate" in texts else {}
    # the budget is no choice of the job's author, who could weaken the attack
    budget = Budget(steps=release.recovery_steps, sharding=space.spec.resources.sharding)
    attacker = Attacker.of(full, data, tests, budget, context.monitor)
    return RecoveryAudit(context, full, attacker, release)
