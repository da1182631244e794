"""`offsite report`: what is in it, for whom, and what text of others becomes in it."""

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from offsite.errors import InputError
from offsite.events import Failed, Metric
from offsite.rehearsal import Model, Scored, Setting, Sizes, Spread, Summary
from offsite.runs import Run, Runs
from offsite.text import as_json
from offsite_cli.app import app
from offsite_cli.report.comparisons import Scored as ScoredSettings
from offsite_cli.report.comparisons import changed, share_of_gain
from offsite_cli.report.evidence import Extras, View
from offsite_cli.report.page import render
from offsite_cli.report.reading import read_attack, read_evaluation, read_frontier
from offsite_cli.report.words import duration, number, share, size
from offsite_testing import reported
from offsite_testing.hostile_text import MARKUP, hostile_runs


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags, self.attributes = Counter[str](), set[tuple[str, str]]()
        self.texts: list[str] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: V105
        self.tags[tag] += 1
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_data(self, data: str) -> None:  # noqa: V105
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join(" ".join(self.texts).split())


def joint(**changes: object) -> str:
    runs = [reported.distill_run(), reported.tune_run(**changes), reported.plug_in_run()]
    return render(runs, View.JOINT, reported.extras())


def test_joint_report_says_all_that_both_know() -> None:
    text = Page(joint()).text
    for said in (
        *("8.94 → 5.55", "59 to 64 %", "−38 %", "× 11.5"),
        *("No differential privacy", "0.537 (0.51 to 0.566)", "The canaries prove that ε is"),
        *("22 of 30", "8 blocks never sent", "72 %", "5 (chosen)"),
        "not allowed: too many blocks",
        *("14 of 22; at most 17", "blocks.{0-21}.mlp.up_proj.weight", "4 min", "3.2 GB"),
        *(reported.FINGERPRINTS["lab"], reported.digest("c"), "2.15.0"),
        "Its digest is that of the adapter that was sent.",
    ):
        assert said in text, said


def test_digests_that_differ_are_told() -> None:
    text = Page(joint(inputs={"bundle": reported.digest("0")})).text
    assert "Its digest is not that of the emulator that was sent" in text


def test_data_owner_reads_only_what_it_knows() -> None:
    text = Page(render([reported.tune_run(privacy=reported.private())])).text
    assert "This report is for hospital" in text
    assert "ε 7.98" in text
    assert "group (patient)" in text
    assert "how good it makes that model, lab can say" in text
    for unknown in ("8.94", "5.55", "4.12", reported.digest("a"), "72 %", "22 of 30"):
        assert unknown not in text, unknown


def test_model_owner_reads_only_what_it_knows() -> None:
    runs = [reported.distill_run(), reported.plug_in_run()]
    disclosed = reported.extras().disclosed
    text = Page(render(runs, None, Extras(disclosed=disclosed, price=36.0, currency="EUR"))).text
    assert "This report is for lab" in text
    assert "how much better it became was not measured" in text
    assert "0.82 EUR" in text
    for unknown in ("103", "6.9", "0.537", "membership", reported.TEXT, "train.jsonl", "3.2 GB"):
        assert unknown not in re.sub(r"Words.*", "", text), unknown


@pytest.mark.parametrize(
    ("runs", "view", "extras", "said"),
    [
        ([], None, Extras(), "no run"),
        ([reported.distill_run(), reported.tune_run()], None, Extras(), "--view joint"),
        ([reported.distill_run()], View.DATA_OWNER, Extras(), "data owner cannot know emulator-"),
        ([reported.tune_run()], View.MODEL_OWNER, Extras(), "model owner cannot know adapter-"),
        ([reported.tune_run()], None, reported.extras(), "--evaluation.*--recovery.*--frontier"),
        ([reported.tune_run(), reported.tune_run(id="other")], None, Extras(), "name one of them"),
    ],
)
def test_what_a_reader_cannot_know_is_refused(
    runs: list[Run], view: View | None, extras: Extras, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        render(runs, view, extras)


def test_failed_run_has_a_report_that_says_why() -> None:
    error = Failed(reason="ReleaseRefused", message="membership inference has an AUC of 0.9")
    failed = reported.tune_run(error=error, outcome="Failed", artifact=None, egress=None)
    text = Page(render([failed])).text
    assert "nothing: no adapter left" in text
    assert "ReleaseRefused: membership inference has an AUC of 0.9" in text
    bare = failed.model_copy(update={"metrics": (), "curves": {}, "rates": {}, "seconds": {}})
    assert "nothing: no adapter left" in Page(render([bare])).text


def test_text_of_others_becomes_no_markup() -> None:
    honest, hostile = Page(joint()), render(hostile_runs(), View.JOINT, reported.extras())
    found = Page(hostile)
    assert set(found.tags) == set(honest.tags)
    assert not {"script", "img", "iframe", "object", "link", "form"} & set(found.tags)
    assert found.tags["style"] == found.tags["title"] == 1
    assert {name for name, _ in found.attributes} == {name for name, _ in honest.attributes}
    assert not {name for name, _ in found.attributes if name.startswith("on") or name == "style"}
    assert all(value.startswith("#") for name, value in found.attributes if name == "href")
    assert all(found.text.count(" ".join(each.split())) >= 3 for each in MARKUP)
    assert not set(hostile) & set("\u202e\u202c\u200b\x1b")
    assert "\\u202e" in hostile


def test_plots_are_text_in_the_colours_of_the_page() -> None:
    plots = re.findall(r"<svg.*?</svg>", joint(), re.DOTALL)
    assert len(plots) == 5
    ids = [
        each.attrib["id"]
        for plot in plots
        for each in ET.fromstring(plot).iter()
        if "id" in each.attrib
    ]
    assert len(set(ids)) == len(ids)
    assert "full model, adapter plugged in" in "".join(ET.fromstring(plots[0]).itertext())
    for plot in plots:
        assert "style" not in plot
        assert "#0000" not in plot, "a colour that is none of the page's"
        assert not re.search(r"(?:fill|stroke)=\"(?!none)", plot)
        used = set(re.findall(r"(?:href=\"|url\()#([\w-]+)", plot))
        assert used <= set(ids)


def summary() -> Summary:
    """What `offsite evaluate --seeds 3` measured."""
    models: dict[Model, Scored] = {
        "full_zero_shot": Scored(score=spread(0.35, (0.3, 0.4))),
        "plug_in": Scored(
            score=spread(0.81, (0.77, 0.85), 0.012), gain=spread(0.46, (0.41, 0.51), 0.01)
        ),
    }
    return Summary(
        metric="accuracy",
        seeds=(0, 1, 2),
        model=reported.digest("a"),
        data={},
        setting=Setting.model_validate({"emulator": {"blocks": 14}}),
        models=models,
        share=spread(0.9, (0.85, 0.95), 0.02),
        sizes=Sizes(model=3, emulator=2, adapter=1),
        relative_flops=0.7,
        seconds={},
    )


def spread(mean: float, interval: tuple[float, float], error: float | None = None) -> Spread:
    return Spread(mean=mean, error=error, values=(mean,), interval=interval)


def test_files_of_other_commands_are_read(tmp_path: Path) -> None:
    runs, given = [reported.distill_run(), reported.plug_in_run()], reported.extras()
    assert given.attack is not None
    for run in runs:
        Runs(tmp_path / "home").keep(run)
    result = as_json({"event": "result", **summary().wire()})
    log = as_json({"event": "log", "message": "hello"})
    (tmp_path / "evaluation.json").write_text(f"{log}\n{result}\n")
    (tmp_path / "frontier.json").write_text(as_json(reported.frontier().wire(), indent=2))
    (tmp_path / "recovery.json").write_text(as_json(given.attack.wire(), indent=2))
    files = [
        argument
        for name in ("evaluation", "frontier", "recovery")
        for argument in (f"--{name}", str(tmp_path / f"{name}.json"))
    ]
    out = tmp_path / "report.html"
    invoke("--home", str(tmp_path / "home"), "--out", str(out), *files)
    text = Page(out.read_text(encoding="utf-8")).text
    for said in (
        *("error, 3 seeds", "± 0.012", "+46.0 points (+41.0 to +51.0 points)", "90 %"),
        *("5 (chosen)", "Each attack trained for 200 steps", "31 %"),
    ):
        assert said in text, said


@pytest.mark.parametrize("content", ["{}", "[1", "", '{"event": "failed"}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    for read in (read_evaluation, read_frontier, read_attack):
        with pytest.raises(InputError, match=r"is not what `offsite .* --output json` writes"):
            read(tmp_path / "other.json")


def test_tasks_of_lm_eval_are_in_one_table() -> None:
    def task(name: str, setting: str, value: float, **gain: Any) -> Metric:
        return Metric(name=name, setting=setting, value=value, text=name, interval=None, **gain)

    over = {"over": "full_zero_shot", "gain": 0.05, "gain_interval": (0.01, 0.09)}
    metrics = (
        task("piqa/acc", "full_zero_shot", 0.6),
        task("piqa/acc", "plug_in", 0.65, **over),
        task("wikitext/bits_per_byte", "full_zero_shot", 0.9),
        task("wikitext/bits_per_byte", "plug_in", 0.8),
    )
    text = Page(render([reported.plug_in_run(metrics=metrics)])).text
    assert "piqa/acc 0.6 0.65 +5.0 points (+1.0 to +9.0 points) over: full model" in text
    assert "wikitext/bits_per_byte 0.9 0.8" in text
    assert text.count("lower is better") == 0


def test_gains_are_told_as_changes() -> None:
    scored = ScoredSettings("x", reported.extras().comparison or pytest.fail("none"))
    assert changed(scored, 0.4767) == "−38 %"
    assert changed(scored, -2.44) == "× 11.5"
    bare = scored.of.model_copy(update={"share": None})
    found = share_of_gain(bare)
    assert found is not None
    assert found.value == pytest.approx(0.6155, abs=1e-3)


def test_figures_are_written_for_people() -> None:
    written = [number(each) for each in (0.0, 6.9, 103.4, 12345.6, 2.5e-7)]
    assert written == ["0", "6.9", "103", "12,346", "2.5e-07"]
    assert [share(each) for each in (0.0, 0.021, 0.6155, 1.0)] == ["0 %", "2.1 %", "62 %", "100 %"]
    assert [size(each) for each in (5, 14_000_000, 2**31)] == ["5 bytes", "14 MB", "2.15 GB"]
    times = [duration(each) for each in (1.5, 82.0, 228.0, 7300.0)]
    assert times == ["1.5 s", "82 s", "4 min", "2 h 2 min"]


def test_command_reports_the_newest_exchange(tmp_path: Path) -> None:
    for run in (reported.distill_run(), reported.plug_in_run(), reported.tune_run(peer="other")):
        Runs(tmp_path / "home").keep(run)
    out = tmp_path / "report.html"
    done = invoke("--home", str(tmp_path / "home"), "--out", str(out))
    assert done == str(out)
    text = Page(out.read_text(encoding="utf-8")).text
    assert "What lab gained, and what it gave away" in text
    assert out.stat().st_mode & 0o077 == 0
    record = tmp_path / "home/runs/tune" / f"{reported.tune_run().id}.json"
    invoke(str(record), "--home", str(tmp_path), "--out", str(out))
    assert "This report is for hospital" in out.read_text(encoding="utf-8")


def test_records_of_both_parties_join_without_the_ledger(tmp_path: Path) -> None:
    """The ledger names other peers, which are none of the data owner's business."""
    paths = []
    for run in (reported.distill_run(), reported.tune_run(), reported.plug_in_run()):
        Runs(tmp_path).keep(run)
        paths.append(str(tmp_path / "runs" / run.stage.lower() / f"{run.id}.json"))
    out = tmp_path / "report.html"
    invoke(*paths, "--view", "joint", "--home", str(tmp_path), "--out", str(out))
    text = Page(out.read_text(encoding="utf-8")).text
    assert "This report joins the records of both parties" in text
    assert "Disclosure so far" not in text


def test_command_without_a_run_says_what_to_do(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["report", "--home", str(tmp_path), "--out", "nowhere.html"])
    assert isinstance(found.exception, InputError)
    assert "run a job first" in str(found.exception)


def invoke(*arguments: str) -> str:
    found = CliRunner().invoke(app, ["report", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout.strip()
