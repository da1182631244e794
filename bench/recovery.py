"""How much of SmolLM2-135M's skill comes back from its emulators, and what healing reveals.

    python bench/recovery.py --blocks 20 14 7 --steps 200 --seeds 3

The attacker has the demo's public text, four blocks at each end, and the given numbers of middle
blocks, healed. Skill is measured on held-out public text, and on the text of the demo's hospital,
of which the attacker has nothing. Prints a row for each emulator and attack: the share of the full
model's skill above chance, the mean over seeds, and their standard error.
"""

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from offsite.api import Ends, LayerDrop
from offsite.emulator import METHODS, Compressed, heal
from offsite.events import Monitor
from offsite.layers import Loaded, blocks, load
from offsite.modality import Batch
from offsite.recovery import HOW, Attacker, Budget, Held
from offsite.recovery.healing import explained
from offsite.release.capability import How
from offsite.rows import DataFile
from offsite.training.data import batches
from offsite_cli.demo import icd
from offsite_cli.demo.shipped import write_corpus, write_model
from offsite_cli.demo.splits import write_splits

ENDS = 4
CALIBRATION = 128
"""Examples of 256 tokens that healing is fitted on, as in a job."""


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--blocks", type=int, nargs="+", default=[20, 14, 7])
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--how", nargs="+", choices=HOW, default=HOW)
    given = options.parse_args()
    monitor = Monitor(lambda _event: None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(folder / "model")
        write_corpus(folder / "corpus.jsonl")
        write_splits(folder, icd.texts(0))
        full = load(folder / "model")
        corpus, private = (
            DataFile(folder / f"{name}.jsonl", f"{name}.jsonl") for name in ("corpus", "test")
        )
        attackers = [
            Attacker.of(
                full, corpus, {"private": private}, Budget(steps=given.steps, seed=s), monitor
            )
            for s in range(given.seeds)
        ]
        calibration = _calibration(full, corpus)
        print("emulator | attack | data | perplexity | share of the skill | standard error")
        for keep in given.blocks:
            made = _emulator(full, keep, calibration, monitor)
            _print_gaps(full, made, attackers[0])
            _print_attacks(full, made, keep, attackers, given.how, monitor)


def _calibration(full: Loaded, corpus: DataFile) -> list[Batch]:
    examples = full.modality.encode(full.modality.read(corpus), 256).examples
    return batches(examples[:CALIBRATION], full.modality.collate, 8)


def _emulator(
    full: Loaded, keep: int, calibration: Sequence[Batch], monitor: Monitor
) -> Compressed:
    method, ends, asked = METHODS["LayerDrop"], Ends(bottom=ENDS, top=ENDS), LayerDrop(blocks=keep)
    chosen = method.choose(len(blocks(full.model)), ends, asked, ())
    made = method.compress(full.model, ends, asked, chosen)
    heal(full.model, made, calibration, monitor)
    return made


def _print_gaps(full: Loaded, made: Compressed, attacker: Attacker) -> None:
    kept = [block.full for block in made.blocks]
    held_out = batches(attacker.corpus.test, full.modality.collate, 16)
    gaps = explained(full, replace(full, model=made.model), kept, held_out)
    listed = ", ".join(f"{g.dropped[0]}-{g.dropped[-1]}: {g.explained:.0%}" for g in gaps)
    print(f"what healed projections predict of dropped blocks: {listed}", flush=True)


def _print_attacks(
    full: Loaded,
    made: Compressed,
    keep: int,
    attackers: Sequence[Attacker],
    attacks: Sequence[How],
    monitor: Monitor,
) -> None:
    held = Held(replace(full, model=made.model), made.middle)
    for how in attacks:
        shares, values = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        for attacker in attackers:
            for each in attacker.measure({"Emulator": held}, monitor, [how]):
                shares[each.data].append(each.share)
                values[each.data].append(float("inf") if each.value is None else each.value)
        for data, found in shares.items():
            error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
            mean, value = statistics.mean(found), statistics.mean(values[data])
            print(f"{keep} | {how} | {data} | {value:.4g} | {mean:.3f} | {error:.3f}", flush=True)


if __name__ == "__main__":
    main()
