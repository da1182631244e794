"""What the model owner gave away: blocks, tensors, and what an attacker gets back from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offsite.release.capability import Capability
from offsite.runs import Run
from offsite_cli.report.content import Block, Blocks, Cell, Facts, Note, Part, Plot, Section, Table
from offsite_cli.report.egress import (
    facts_of,
    file_table,
    numbers_in,
    sent_facts,
    tensor_table,
)
from offsite_cli.report.evidence import Attack, Evidence
from offsite_cli.report.plots import Dot, dot_plot
from offsite_cli.report.svg import Ink
from offsite_cli.report.words import between, share

_MOST_BLOCKS = 512
_HELD = {"Emulator": "this emulator", "Union": "all emulators together"}
_TRAINED = {
    "Nothing": "as it is",
    "LoRA": "LoRA trained",
    "Middle": "middle blocks trained",
    "All": "all weights trained",
}


@dataclass(frozen=True)
class Sent:
    """Blocks of the full model in an emulator."""

    depth: int
    exact: frozenset[int]
    changed: frozenset[int]
    """Sent, but healed or trained."""

    @property
    def kept(self) -> int:
        """Number of blocks that were not sent."""
        return self.depth - len(self.exact | self.changed)


def sent_blocks(run: Run | None) -> Sent | None:
    """Read from an egress report which blocks were sent; None: it does not say."""
    facts = facts_of(run.egress if run is not None else None)
    count = facts.get("model.blocks", "")
    if not count.isdecimal() or not 0 < int(count) <= _MOST_BLOCKS:
        return None
    every = frozenset(range(int(count)))
    ends = every & numbers_in(facts.get("disclosed.ends", ""))
    middle = (every & numbers_in(facts.get("disclosed.middle", ""))) - ends
    changed = facts.get("healed") == "True" or facts.get("distilledSteps", "0") != "0"
    return Sent(len(every), ends if changed else ends | middle, middle if changed else frozenset())


def disclosure_section(evidence: Evidence) -> Section | None:
    """Say what the model owner gave away; None: the report knows of nothing."""
    run, extras = evidence.run("Distill"), evidence.extras
    sections = [
        *_sent(run),
        *_recovered(evidence.capabilities, extras.attack),
        *_so_far(extras.disclosed),
    ]
    if not sections:
        return None
    return Section(
        "disclosure",
        f"What {evidence.model_owner} gave away",
        "An emulator is part of the model. Whoever has it can use it, and can try to rebuild the "
        "rest.",
        sections=sections,
        party="model-owner",
    )


def _sent(run: Run | None) -> Iterator[Section]:
    if run is None or run.egress is None:
        return
    parts: list[Part] = []
    if (sent := sent_blocks(run)) is not None:
        parts.append(_blocks(sent))
    parts += [sent_facts(run.egress), *_made(run)]
    if grant := _grant(run):
        parts.append(grant)
    parts += [tensor_table(run.egress), file_table(run.egress)]
    yield Section("emulator", "The emulator that was sent", parts=parts)


def _blocks(sent: Sent) -> Blocks:
    def state(number: int) -> Block:
        if number in sent.exact:
            return Block(number, "exact")
        return Block(number, "changed" if number in sent.changed else "kept")

    return Blocks(
        f"The {sent.depth} blocks of the full model",
        f"Of {sent.depth} blocks, {len(sent.exact)} were sent unchanged, {len(sent.changed)} were "
        f"sent changed, and {sent.kept} were never sent.",
        [state(number) for number in range(sent.depth)],
    )


def _made(run: Run) -> Iterator[Part]:
    facts = facts_of(run.egress)
    healed = {"True": "yes", "False": "no"}.get(facts.get("healed", ""), "–")
    yield Facts(
        [
            ("Method", facts.get("method", "–")),
            ("Healed", healed),
            ("Distillation steps", facts.get("distilledSteps", "–")),
        ]
    )


def _grant(run: Run) -> Part | None:
    terms = {
        name.removeprefix("grant."): value
        for name, value in facts_of(run.egress).items()
        if name.startswith("grant.")
    }
    if not terms:
        return Note("Its terms limit nothing: neither time, nor the number of adapters.")
    return Facts([(f"Terms: {name}", value) for name, value in terms.items()])


def _recovered(capabilities: Sequence[Capability], found: Attack | None) -> Iterator[Section]:
    """Say how much skill an attacker gets back."""
    if not capabilities:
        return
    dots = [Dot(attack(each), each.share, each.interval, _ink(each)) for each in capabilities]
    table = Table(
        "Skill as a share of the full model's",
        ["what an attacker has, and does", "measured on", "by", "skill", "95 % interval"],
        [
            [
                attack(each),
                each.data,
                each.metric,
                share(each.share),
                between(each.interval, percent=True),
            ]
            for each in capabilities
        ],
        (3, 4),
    )
    shares = "; ".join(f"{attack(each)}: {share(each.share)}" for each in capabilities)
    yield Section(
        "recovery",
        "What an attacker gets back",
        "The skill of the best model that was rebuilt from the emulator with public text: 0 % is "
        "chance, 100 % the full model.",
        [
            Plot(
                "recovery-plot",
                "Skill as a share of the full model's, above chance",
                shares,
                dot_plot("recovery-plot", dots, "share of the full model's skill", percent=True),
                note="" if found is None else f"Each attack trained for {found.steps:,} steps.",
            ),
            table,
            *(() if found is None else _healed(found)),
        ],
    )


def _healed(found: Attack) -> Iterator[Part]:
    if found.healed:
        yield Table(
            "What a healed block tells about dropped ones, if it is known without healing, too",
            ["healed block", "dropped blocks", "predicted of what they add"],
            [
                [str(each.below), ", ".join(map(str, each.dropped)), share(each.explained)]
                for each in found.healed
            ],
            (2,),
        )


def attack(capability: Capability) -> str:
    """Say what an attacker has and does."""
    return f"{_HELD[capability.subject]}, {_TRAINED[capability.how]}"


def _ink(capability: Capability) -> Ink:
    return Ink.MUTED if capability.how == "Nothing" else Ink.MODEL_OWNER


def _so_far(models: Sequence[Mapping[str, Any]]) -> Iterator[Section]:
    """Say what all emulators together disclosed."""
    if models:
        yield Section(
            "so-far",
            "Disclosure so far",
            "All emulators of one model together, to all peers. The organization's limits hold for "
            "this sum.",
            [part for number, model in enumerate(models) for part in _model(number, model)],
        )


def _model(number: int, model: Mapping[str, Any]) -> Iterator[Part]:
    depth, ends, middle = model["blocks"], len(model["ends"]), len(model["middle"])
    names = ", ".join(model["models"]) or "unknown model"
    if depth:
        yield Facts(
            [
                ("Model", Cell(names, code=True)),
                ("End blocks sent", f"{ends} of {depth}; at most {model['mostEnds']}"),
                (
                    "Middle blocks sent",
                    f"{middle} of {depth - ends}; at most {model['mostMiddle']}",
                ),
                ("May still be sent", f"{model['remaining']} more middle blocks, with these ends"),
            ]
        )
    yield Table(
        f"Emulators of model {number + 1}",
        ["emulator", "sent to", "blocks", "when"],
        [
            [each["bundle"], each["recipient"], str(len(each["blocks"])), str(each["at"])]
            for each in model["emulators"]
        ],
        (2,),
    )
