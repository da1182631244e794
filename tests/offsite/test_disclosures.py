"""The ledger of what was disclosed, on a disk and in a real MinIO alike.

No torch here: processes that write at once import this module.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from offsite.bundle import BlockRecord, EmulatorRecord
from offsite.bundle.disclosure import Disclosed
from offsite.bundle.ledger_entry import entry_of
from offsite.errors import DisclosureError, InputError
from offsite.steps.disclosures import Disclosures
from offsite.store.artifact_store import ArtifactStore, FolderArtifactStore, artifact_store_of
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.private_store import PrivateStore
from offsite.wire import canonical
from offsite_testing.disclosed import (
    DEPTH,
    MODEL,
    OTHER,
    Blocks,
    Kept,
    check,
    entry,
    full_model,
)
from offsite_testing.minio_server import MinioServer, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server


def kept(count: int) -> Kept:
    """Keep the lowest blocks of the middle: more hold all that fewer do."""
    return Kept(tuple(range(4, 4 + count)))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("lab")
        yield made


@pytest.fixture(params=["folder", "bucket"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Disclosures:
    if request.param == "folder":
        return Disclosures(FolderArtifactStore(tmp_path / "private"))
    server: MinioServer = request.getfixturevalue("server")
    write_credentials(tmp_path / "keys.json", Credentials(server.user, server.password))
    environ = {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(tmp_path / "keys.json"),
    }
    private_store = PrivateStore(tmp_path / "copies", None, environ)
    return Disclosures(artifact_store_of(f"s3://lab/{tmp_path.name}", private_store))


def enter(ledger: Disclosures, layout: Blocks, job: str) -> str:
    return ledger.enter(entry(layout, job), lambda before: check(before, layout))


def try_to_enter(ledger: Disclosures, number: int) -> bool:
    """Send an emulator with a block of the middle that no other process sends."""
    try:
        enter(ledger, Kept((*range(4, 17), 17 + number)), f"job-{number}")
    except DisclosureError:
        return False
    return True


def test_of_jobs_at_once_no_more_pass_than_one_after_another(ledger: Disclosures) -> None:
    """13 blocks of the middle, and another one each: 17 of 22 is the most, so four may pass."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(8, mp_context=spawn) as pool:
        passed = list(pool.map(partial(try_to_enter, ledger), range(8)))
    assert sum(passed) == 4
    assert len(full_model().disclosed(ledger.entries()).middle) == 17
    assert [each.number for each in ledger.entries()] == [1, 2, 3, 4]


def test_what_is_tried_again_is_entered_once(ledger: Disclosures) -> None:
    first = enter(ledger, kept(16), "job")
    assert enter(ledger, kept(16), "job") == first
    assert len(ledger.entries()) == 1
    assert enter(ledger, kept(16), "another") != first
    assert len(ledger.entries()) == 2


@pytest.mark.parametrize("what", ["folder", "link"])
def test_what_is_in_the_place_of_the_next_note_is_named(tmp_path: Path, what: str) -> None:
    ledger, place = Disclosures(FolderArtifactStore(tmp_path)), tmp_path / "disclosed/000001.json"
    place.parent.mkdir()
    if what == "folder":
        place.mkdir()
    else:
        place.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"disclosed/000001\.json"):
        enter(ledger, kept(14), "job")


def record(digest: str, layout: Blocks, of: str | None) -> EmulatorRecord:
    ends = {layout.kept[place] for place in layout.ends}
    return EmulatorRecord(
        bundle="old",
        digest=digest,
        recipient="hospital",
        architecture="LlamaForCausalLM",
        model_digest=MODEL,
        blocks=tuple(
            BlockRecord(full=full, end=full in ends, tensors={}, linears={}) for full in layout.kept
        ),
        entry=of,
    )


def keep(artifacts: ArtifactStore, record: EmulatorRecord) -> None:
    name = record.digest.removeprefix("sha256:")
    artifacts.write(f"records/{name}.json", canonical(record.wire()))


def test_what_an_earlier_version_sent_counts_by_its_record(ledger: Disclosures) -> None:
    keep(ledger.artifacts, record(OTHER, kept(17), None))
    [old] = ledger.entries()
    assert (old.depth, old.model, old.envelope) == (DEPTH, MODEL, OTHER)
    with pytest.raises(DisclosureError, match=r"22 of 22 middle blocks would be disclosed"):
        enter(ledger, Kept(tuple(range(9, 26))), "job")
    enter(ledger, kept(17), "job")
    assert [each.number for each in ledger.entries()] == [1, 0]


def test_an_entry_that_is_lost_is_noticed_and_restored_from_its_record(
    ledger: Disclosures,
) -> None:
    layouts = [kept(count) for count in (14, 15, 16)]
    for number, layout in enumerate(layouts):
        noted = enter(ledger, layout, f"job-{number}")
        keep(ledger.artifacts, record(f"sha256:{number:064}", layout, noted))
    before = full_model().disclosed(ledger.entries())
    ledger.artifacts.remove("disclosed/000003.json")  # the last one: no gap tells of it
    with pytest.raises(InputError, match=r"lacks the entry of old, .* restore .* --rebuild"):
        ledger.entries()
    with pytest.raises(InputError, match="lacks the entry of old"):
        enter(ledger, layouts[0], "another")
    assert ledger.rebuild() == 1
    assert full_model().disclosed(ledger.entries()) == before
    assert ledger.rebuild() == 0
    ledger.artifacts.remove("disclosed/000001.json")
    with pytest.raises(InputError, match=r"disclosed/000002\.json"):
        ledger.entries()
    ledger.artifacts.write("disclosed/000002.json", b"{}")
    with pytest.raises(InputError, match=r"000002.json is damaged"):
        ledger.entries()
    assert ledger.rebuild() == 2
    assert full_model().disclosed(ledger.entries()) == before
    ledger.artifacts.remove("disclosed")
    with pytest.raises(InputError, match="lacks the entry of old"):
        ledger.entries()


def test_an_entry_that_was_changed_is_noticed(ledger: Disclosures) -> None:
    for number in range(2):
        enter(ledger, kept(14), f"job-{number}")
    first = ledger.entries()[0]
    less = first.model_copy(update={"blocks": first.blocks[:2]})
    ledger.artifacts.write("disclosed/000001.json", canonical(less.wire()))
    with pytest.raises(InputError, match=r"000002.json does not follow"):
        ledger.entries()


def test_a_record_says_what_an_entry_would() -> None:
    told = entry_of(record(OTHER, kept(14), None))
    assert Disclosed.of(told.blocks) == Disclosed.of(entry(kept(14)).blocks)
