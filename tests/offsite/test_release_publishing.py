"""The step that publishes, which trusts no figure that it can measure itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from offsite.api import JobSpec, Release
from offsite.errors import ReleaseRefused
from offsite.release.figures import AUDITED, Figures
from offsite.steps.released import check_released
from offsite.steps.workspace import Workspace
from offsite.wire import canonical
from offsite_testing.audited import honest, judged, trapped
from offsite_testing.parties import HOSPITAL, LAB, new_parties, tune


@pytest.fixture
def finished(tmp_path: Path) -> Workspace:
    """An adapter that passed, and waits to be sent."""
    spec = JobSpec.model_validate(tune(release={"canaries": 60}))
    space = Workspace(
        new_parties(tmp_path).party(HOSPITAL), "adapter", spec, LAB, "0" * 64, tmp_path
    )
    space.result.mkdir()
    save_file({"blocks.0.fc1.weight.lora_B": honest()}, space.result / "adapter.safetensors")
    (tmp_path / AUDITED).write_bytes(canonical(judged()[0].wire()))
    return space


def again(space: Workspace, **limits: Any) -> Figures:
    party = replace(space.party, limits=space.party.limits.model_copy(update=limits))
    assert space.spec.tune is not None
    return check_released(replace(space, party=party), space.spec.tune)


def test_the_step_that_publishes_trusts_no_figure_that_it_can_measure(finished: Workspace) -> None:
    told = again(finished)
    forged = trapped(live=16)
    save_file({"blocks.0.fc1.weight.lora_B": forged}, finished.result / "adapter.safetensors")
    assert told.traces.silent_rows == 0
    with pytest.raises(ReleaseRefused, match="maxSilentRows"):
        again(finished)


def test_the_step_that_publishes_requires_the_audits_of_the_organization(
    finished: Workspace,
) -> None:
    again(finished, release=Release(canaries=100, max_auc=0.7))
    with pytest.raises(ReleaseRefused, match="with 200 canaries, and 300 are required"):
        again(finished, release=Release(canaries=300))
    with pytest.raises(ReleaseRefused, match="maxAuc"):
        again(finished, release=Release(max_auc=0.5))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{}")])
def test_an_adapter_without_figures_is_not_published(
    finished: Workspace, damage: Callable[[Path], object]
) -> None:
    damage(finished.folder / AUDITED)
    with pytest.raises(ReleaseRefused, match="missing or damaged"):
        again(finished)
