"""`offsite frontier`: from a sweep to a table, a plot and a suggestion."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from offsite.api import LayerDrop
from offsite.errors import InputError, SpecError
from offsite.frontier import (
    Candidate,
    Cost,
    Figure,
    Frontier,
    Point,
    Skill,
    Wanted,
    summarize,
)
from offsite_cli.app import app
from offsite_cli.frontier.plot import draw
from offsite_cli.frontier.table import show_frontier
from offsite_testing.standin import save_stand_in

SWEEP = "ends: {bottom: 1, top: 1}\nemulator: {blocks: [1, 3], heal: false}\n"


def point(number: int, gain: float, recovered: float) -> Point:
    return Point(
        number=number,
        setting=Candidate(emulator=LayerDrop(blocks=number)),
        gain=Figure(value=gain, interval=(gain - 0.1, gain + 0.1), error=0.012),
        skill=Skill(
            untouched=Figure(value=recovered / 2),
            recovered=Figure(value=recovered, interval=(recovered - 0.1, recovered + 0.1)),
            tuned=Figure(value=1.1),
        ),
        cost=Cost(size_bytes=1000, size=0.7, flops=0.8, distill_seconds=1, tune_seconds=2),
    )


@pytest.fixture
def frontier() -> Frontier:
    """Four settings, of which the third is dominated, and the fourth not allowed."""
    points = [point(1, 0.3, 0.2), point(2, 0.5, 0.4), point(3, 0.4, 0.5), point(4, 0.9, 0.1)]
    points[3] = points[3].model_copy(update={"refused": "too many blocks"})
    return summarize(points, "perplexity", 3, Wanted(max_recovered=0.45))


def drawn_texts(svg: bytes) -> list[str]:
    return [each.text or "" for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_plot_numbers_what_can_be_chosen(frontier: Frontier) -> None:
    svg = draw(frontier)
    texts = drawn_texts(svg)
    assert {"1", "2"} <= {*texts}
    assert not {"3", "4"} & {*texts}
    assert texts.count("2") == 3  # the suggested one has its number in each panel
    assert "gain, as a share of full fine-tuning's" in texts
    assert draw(frontier) == svg


def test_the_plot_reads_nothing_from_elsewhere(frontier: Frontier) -> None:
    root = ET.fromstring(draw(frontier))
    links = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert {e.tag.rpartition("}")[2] for e in root.iter()}.isdisjoint({"script", "image"})


def test_limits_are_drawn_where_they_belong(frontier: Frontier) -> None:
    def dashed(wanted: Wanted) -> int:
        svg = draw(frontier.model_copy(update={"wanted": wanted})).decode()
        return svg.count("stroke-dasharray")

    none = dashed(Wanted())
    assert dashed(Wanted(min_gain=0.2)) == none + 1
    assert dashed(Wanted(max_recovered=0.2)) == none + 3
    assert dashed(Wanted(max_recovered=0.2, max_tuned=0.9, max_flops=0.5)) == none + 7


def test_the_table_marks_each_setting(frontier: Frontier) -> None:
    shown = io.StringIO()
    show_frontier(frontier, Console(width=120, file=shown))
    lines = [line for line in shown.getvalue().splitlines() if "│" in line]
    rows = {line.split("│")[1].strip(): line for line in lines}
    assert "30 ± 1.2 %" in rows["1"]
    assert "blocks 1" in rows["1"]
    assert "suggested" in rows["2"]
    assert "dominated by 2" in rows["3"]
    assert "not allowed" in rows["4"]


class Lab:
    """A model owner's folder with a model, a stand-in and a sweep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_stand_in(folder)
        (folder / "sweep.yaml").write_text(SWEEP, encoding="utf-8")

    def run(self, *options: str) -> Result:
        data = [f"--{name}={name}.jsonl" for name in ("train", "validation", "test", "corpus")]
        tuning = ["--steps=8", "--batch-size=4", "--block-size=16", "--learning-rate=1e-2"]
        common = ["--model=model", "--recovery-steps=2", "--full-learning-rate=1e-2"]
        given = ["frontier", "sweep.yaml", *data, *tuning, *common, *options]
        return CliRunner().invoke(app, given, env={"OFFSITE_HOME": str(self.folder / "home")})


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def test_a_sweep_is_measured_once_and_leaves_nothing_elsewhere(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab.folder)
    before = {*lab.folder.rglob("*")}
    done = lab.run("--max-size=2")
    assert done.exit_code == 0, done.output
    assert "the highest gain of the 2 of 2 settings" in done.stdout
    assert "distill:\n  ends:" in done.stdout
    for path in {*lab.folder.rglob("*")} - before:
        assert lab.folder / "frontier" in (path, *path.parents)
    kept = Frontier.model_validate_json((lab.folder / "frontier/frontier.json").read_bytes())
    assert [each.setting.emulator.blocks for each in kept.points] == [1, 3]
    assert drawn_texts((lab.folder / "frontier/frontier.svg").read_bytes())
    again = lab.run("--max-recovered=0", "-o", "json")
    assert "recover" not in again.stderr
    result = json.loads(again.stdout)
    assert result["suggested"] is None
    assert "no setting meets" in result["reason"]
    assert [each["gain"] for each in result["points"]] == [
        each.model_dump(mode="json")["gain"] for each in kept.points
    ]


def test_mistakes_are_told_before_any_work(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.folder)
    missing = CliRunner().invoke(app, ["frontier", "sweep.yaml", "--model=model", "--data=a.jsonl"])
    assert isinstance(missing.exception, InputError)
    assert "--corpus" in str(missing.exception)
    (lab.folder / "sweep.yaml").write_text("emulator: {blocks: [0]}", encoding="utf-8")
    done = lab.run()
    assert isinstance(done.exception, SpecError)
    assert "emulator.blocks" in str(done.exception)
