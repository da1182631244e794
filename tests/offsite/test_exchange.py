"""Sending and receiving sealed bundles: what resumes, what is refused, what races."""

import hashlib
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from offsite.bundle import (
    AdapterFacts,
    EmulatorFacts,
    Manifest,
    read_manifest,
    write_manifest,
)
from offsite.errors import (
    BundleError,
    InputError,
    NotAllowedError,
    NotSentError,
    OffsiteError,
    StorageError,
)
from offsite.exchange import (
    WHOLE,
    Auditor,
    Checks,
    HomeLedger,
    Mailbox,
    Outgoing,
    Reference,
    Sent,
    find_sent,
    pull,
    push,
    withdraw,
)
from offsite.exchange.digests import Digests
from offsite.exchange.home import open_mailbox
from offsite.exchange.journal import Journal, Start
from offsite.exchange.listing import key_of
from offsite.exchange.workers import in_workers
from offsite.sealing import Envelope, Header, Ring, Shard, new_bundle_key
from offsite.sealing.envelope import GrantTerms, write_envelope
from offsite.sealing.primitives import encrypt, sign
from offsite.store import FolderStore, ObjectStore
from offsite.store.artifact_store import FolderArtifactStore
from offsite.wire import canonical, now, text_of
from offsite_testing.core import silent
from offsite_testing.parties import HOSPITAL, LAB, introduce, ring_of

SMALL = 1000
FILES = {"adapter.safetensors": 3500, "empty.txt": 0, "even.bin": 2 * SMALL}
SHARDS = 1 + 4 + 1 + 2
SECRET = b"the patient's name is "


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into shards of a thousand bytes."""
    places = ("sending", "chunking", "receiving", "digests")
    for module in ("sealing.shards", *(f"exchange.{place}" for place in places)):
        monkeypatch.setattr(f"offsite.{module}.SHARD_SIZE", SMALL)


@dataclass(frozen=True)
class World:
    """Two parties who know each other, a third who knows the first, and an exchange."""

    root: Path

    def mailbox(self, party: str) -> Mailbox:
        return open_mailbox(self.root / party / "home", str(self.root / "exchange"), {})

    def auditor(self) -> Auditor:
        """Somebody who has the public keys alone."""
        rings = [ring_of(party).public() for party in (LAB, HOSPITAL, "clinic")]
        return Auditor(FolderStore(self.root / "exchange"), rings)

    def bundle(self, name: str = "answer", by: str = HOSPITAL, to: str = LAB) -> Path:
        """Make a bundle of several files."""
        folder = self.root / "bundles" / name
        folder.mkdir(parents=True)
        for file, size in FILES.items():
            content = (SECRET * (size // len(SECRET) + 1))[:size]
            (folder / file).write_bytes(content)
        adapter = AdapterFacts(method="LoRA", scope="All", rank=1, answers="sha256:" + "0" * 64)
        emulator = EmulatorFacts(bottom=1, top=1, healed=False, distilled_steps=0)
        write_manifest(
            folder,
            name=name,
            made_by=by,
            made_for=to,
            architecture="X",
            dtype="float32",
            facts=emulator if by == LAB else adapter,
        )
        return folder

    def send(self, folder: Path, job: str = "job-1", **over: object) -> Sent:
        return push(self.mailbox(HOSPITAL), outgoing(folder, job, **over), silent())

    def take(self, target: Path, reference: str = "answer", party: str = LAB) -> Manifest:
        mailbox = self.mailbox(party)
        envelope = mailbox.incoming(HOSPITAL, Reference.parse(reference))
        return pull(mailbox, envelope, target, WHOLE, silent())

    @property
    def place(self) -> Path:
        return self.root / "exchange" / HOSPITAL / LAB / "answer"

    def shards(self, sequence: int = 1) -> list[Path]:
        return sorted(p for p in (self.place / str(sequence)).iterdir() if len(p.name) == 64)


def outgoing(folder: Path, job: str, **over: object) -> Outgoing:
    return replace(Outgoing(folder, LAB, job), **over)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> World:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL, tmp_path / "clinic")
    return World(tmp_path)


def test_a_received_bundle_equals_the_sent_one(world: World, tmp_path: Path) -> None:
    folder, target = world.bundle(), tmp_path / "out"
    sent = world.send(folder)
    manifest = world.take(target)
    assert sent.sequence == 1
    assert {p.name: p.read_bytes() for p in target.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }
    assert manifest.name == "answer"
    assert len(world.shards()) == SHARDS


def test_the_store_sees_names_and_sizes_and_nothing_else(world: World) -> None:
    folder = world.bundle()
    world.send(folder)
    seen = b"".join(p.read_bytes() for p in (world.root / "exchange").rglob("*") if p.is_file())
    assert SECRET not in seen
    for name in (*FILES, "manifest", "LoRA"):
        assert name.encode() not in seen
    manifest, digest = read_manifest(folder)
    for entry in (digest, *(entry.sha256 for entry in manifest.files.values())):
        assert entry.removeprefix("sha256:").encode() not in seen


class Failing(FolderStore):
    """A store that is gone after some puts."""

    left: int

    def put(self, key: str, content: bytes) -> None:
        left = self.__dict__["left"]
        self.__dict__["left"] = left - 1
        if left <= 0:
            raise StorageError("the store is gone")
        super().put(key, content)


def failing(mailbox: Mailbox, puts: int) -> Mailbox:
    store = Failing(mailbox.store.root)  # type: ignore[attr-defined]
    store.__dict__["left"] = puts
    return replace(mailbox, store=store)


@pytest.mark.parametrize("puts", range(SHARDS + 1))
def test_a_push_that_failed_goes_on_where_it_was(world: World, tmp_path: Path, puts: int) -> None:
    folder = world.bundle()
    with pytest.raises(StorageError):
        push(failing(world.mailbox(HOSPITAL), puts), outgoing(folder, "job-1"), silent())
    assert not list(world.place.rglob("envelope-*"))
    again = failing(world.mailbox(HOSPITAL), 99)
    push(again, outgoing(folder, "job-1"), silent())
    assert 99 - again.store.__dict__["left"] == SHARDS - puts + 1
    assert not list((tmp_path / HOSPITAL / "home/journals").iterdir())
    world.take(tmp_path / "out")


class Forgetful(FolderStore):
    """A store that takes one object, and is gone before it says so; it lists that one later."""

    late: str

    def put(self, key: str, content: bytes) -> None:
        super().put(key, content)
        if len(list(self.root.rglob("?" * 64))) == 3:
            self.__dict__["late"] = key
            raise StorageError("the store is gone")

    def sizes(self, prefix: str) -> dict[str, int]:
        late = self.__dict__.pop("late", None)
        return {key: size for key, size in super().sizes(prefix).items() if key != late}


@pytest.mark.parametrize("late", [False, True])
def test_a_push_that_was_cut_off_leaves_nothing_but_what_its_envelope_names(
    world: World, tmp_path: Path, late: bool
) -> None:
    folder, mailbox = world.bundle(), world.mailbox(HOSPITAL)
    store = Forgetful(world.root / "exchange")
    with pytest.raises(StorageError):
        push(replace(mailbox, store=store), outgoing(folder, "job-1"), silent())
    assert len(world.shards()) == 3
    stranger = world.place / "1" / ("5" * 64)  # of another attempt, which is not ours to end
    stranger.write_bytes(b"x")
    counting = failing(mailbox, 99)
    if not late:
        push(counting, outgoing(folder, "job-1"), silent())
        assert 99 - counting.store.__dict__["left"] == SHARDS - 3 + 1, "what arrived was sent again"
    else:
        push(replace(mailbox, store=store), outgoing(folder, "job-1"), silent())
    assert stranger in world.shards()
    assert len(world.shards()) == SHARDS + 1
    world.take(tmp_path / "out")


class Losing(FolderStore):
    """A store that takes what it does not keep, for a while."""

    def put(self, key: str, content: bytes) -> None:
        if self.__dict__.setdefault("left", 3) > 0:
            self.__dict__["left"] -= 1
            super().put(key, content)


def test_a_push_succeeds_only_if_the_store_lists_all_shards(world: World, tmp_path: Path) -> None:
    folder, told = world.bundle(), list[str]()
    mailbox = replace(world.mailbox(HOSPITAL), store=Losing(world.root / "exchange"))
    with pytest.raises(StorageError, match=f"lacks {SHARDS - 3} of the {SHARDS} shards"):
        push(mailbox, outgoing(folder, "job-1"), silent(), told.append)
    assert (told, list(world.place.rglob("envelope-*"))) == ([], [])
    again = failing(world.mailbox(HOSPITAL), 99)
    push(again, outgoing(folder, "job-1"), silent())
    assert 99 - again.store.__dict__["left"] == SHARDS - 3 + 1, "what is there was sent again"
    world.take(tmp_path / "out")


class Forgetting(FolderStore):
    """A store that takes envelopes, and keeps none."""

    def put(self, key: str, content: bytes) -> None:
        if "/envelope-" not in key:
            super().put(key, content)


def test_an_envelope_that_the_store_does_not_show_takes_no_place(
    world: World, tmp_path: Path
) -> None:
    folder = world.bundle()
    world.send(folder)
    mailbox = replace(world.mailbox(HOSPITAL), store=Forgetting(world.root / "exchange"))
    with pytest.raises(StorageError, match="is missing, although the store accepted it"):
        push(mailbox, outgoing(folder, "job-2"), silent())
    with pytest.raises(StorageError, match="is missing, although the store accepted it"):
        withdraw(mailbox, LAB, "answer")
    world.take(tmp_path / "out")


def test_a_push_that_was_cut_off_when_all_was_there_tidies_up(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, journals = world.bundle(), tmp_path / HOSPITAL / "home/journals"
    world.send(folder)

    def cut(*_: object) -> None:
        raise StorageError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "delete", cut)
        with pytest.raises(StorageError):
            push(world.mailbox(HOSPITAL), outgoing(folder, "job-2"), silent())
    assert world.shards(1)
    assert list(journals.glob("*.push"))
    assert world.send(folder, "job-2").sequence == 2
    assert world.shards(1) == []
    assert not list(journals.iterdir())


def test_an_envelope_that_is_listed_and_not_given_counts_for_nothing(
    world: World, tmp_path: Path
) -> None:
    class Promising(FolderStore):
        """A store that lists an envelope that it does not have."""

        def sizes(self, prefix: str) -> dict[str, int]:
            return {**super().sizes(prefix), f"hospital/lab/answer/1/envelope-{'0' * 64}": 9}

    store = Promising(world.root / "exchange")
    sent = push(
        replace(world.mailbox(HOSPITAL), store=store), outgoing(world.bundle(), "job-1"), silent()
    )
    lab = replace(world.mailbox(LAB), store=store)
    envelope = lab.incoming(HOSPITAL, Reference("answer"))
    assert envelope.digest == sent.digest
    pull(lab, envelope, tmp_path / "out", WHOLE, silent())


def test_what_is_found_sent_is_tidied_up_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = world.bundle(), list[str]()
    world.send(folder)
    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "delete", lambda *_: (_ for _ in ()).throw(StorageError("cut")))
        with pytest.raises(StorageError):
            push(world.mailbox(HOSPITAL), outgoing(folder, "job-2"), silent(), found.append)
    assert world.shards(1)
    mailbox = world.mailbox(HOSPITAL)
    assert mailbox.journals.names("lab.answer.push")
    sent = find_sent(mailbox, LAB, "answer", found[0])
    assert sent is not None
    assert (sent.sequence, world.shards(1)) == (2, [])
    assert not list(mailbox.scratch.iterdir())


def test_a_journal_of_an_earlier_version_is_put_aside(world: World, tmp_path: Path) -> None:
    folder, journal = cut_off(world, tmp_path)
    shutil.rmtree(journal)
    journal.write_bytes(b"{}\n")
    world.send(folder)
    assert not journal.exists()
    world.take(tmp_path / "out")


def cut_off(world: World, tmp_path: Path, puts: int = 4) -> tuple[Path, Path]:
    """Cut a push off; gives the bundle, and the folder of its journal."""
    folder = world.bundle()
    with pytest.raises(StorageError):
        push(failing(world.mailbox(HOSPITAL), puts), outgoing(folder, "job-1"), silent())
    (journal,) = (tmp_path / HOSPITAL / "home/journals").glob("*.push")
    return folder, journal


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: b"", lambda c: b"{}\n" + c])
def test_a_damaged_journal_harms_nothing(
    world: World, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    folder, journal = cut_off(world, tmp_path)
    start = journal / "start"
    start.write_bytes(damage(start.read_bytes()))
    world.send(folder)
    world.take(tmp_path / "out")


def test_a_note_that_makes_no_sense_is_none(world: World, tmp_path: Path) -> None:
    folder, journal = cut_off(world, tmp_path)
    (notes,) = (path for path in journal.iterdir() if path.is_dir())
    for name in ("", "1-2-3", "1-0-1-99-zz", "a-b-c-d-" + "0" * 64):
        (notes / f"{name}x").write_bytes(b"")
    counting = failing(world.mailbox(HOSPITAL), 99)
    push(counting, outgoing(folder, "job-1"), silent())
    assert 99 - counting.store.__dict__["left"] == SHARDS - 4 + 1
    world.take(tmp_path / "out")


def test_a_foreign_key_in_a_journal_is_not_used(world: World, tmp_path: Path) -> None:
    folder, journal = cut_off(world, tmp_path)
    mailbox = world.mailbox(HOSPITAL)
    start = Start.model_validate_json((journal / "start").read_bytes())
    theirs = Ring.new(HOSPITAL).newest("sign")  # they know all that is public of ours
    known, public = new_bundle_key(), mailbox.ring.public().newest("encrypt").keyset
    wrapped = text_of(encrypt(public, canonical(known), b"offsite journal 2\n"))
    forged = start.model_copy(update={"key": wrapped})
    for signature in (start.signature, text_of(sign(theirs.keyset, forged.signed))):
        forgery = forged.model_copy(update={"signature": signature})
        (journal / "start").write_bytes(canonical(forgery.wire()))
        found, noted = Journal.resume(
            mailbox.journals, journal.name, mailbox.ring, start.place, start.manifest
        )
        assert (found.key == known, noted) == (False, [])
    world.send(folder)
    world.take(tmp_path / "out")


def test_attempts_that_race_with_one_journal_spoil_nothing(world: World, tmp_path: Path) -> None:
    folder, journals = world.bundle(), FolderArtifactStore(tmp_path / "journals")

    def attempt(number: int, meanwhile: Callable[[str], None]) -> Sent:
        mailbox = world.mailbox(HOSPITAL)
        pod = replace(mailbox, scratch=tmp_path / f"{number}", journals=journals, alone=False)
        return push(pod, outgoing(folder, "job-1"), silent(), meanwhile)

    class Slow(FolderStore):
        """A store that takes an object while another attempt has all but its envelope there."""

        def put(self, key: str, content: bytes) -> None:
            put = super().put
            if not done and len(list(self.root.rglob("?" * 64))) == 3:
                done.append(attempt(2, lambda digest: put(key, content)))
            else:
                put(key, content)

    done, store = list[Sent](), Slow(world.root / "exchange")
    slow = replace(world.mailbox(HOSPITAL), store=store, scratch=tmp_path / "1", journals=journals)
    first = push(replace(slow, alone=False), outgoing(folder, "job-1"), silent())
    for sent in (first, *done):
        assert find_sent(world.mailbox(HOSPITAL), LAB, "answer", sent.digest) == sent
    world.take(tmp_path / "out")


def test_the_same_job_is_sent_once(world: World) -> None:
    folder = world.bundle()
    first = world.send(folder)
    before = sorted(world.place.rglob("*"))
    assert world.send(folder) == first
    assert sorted(world.place.rglob("*")) == before


def test_what_is_newer_takes_the_place_of_what_was_before(world: World, tmp_path: Path) -> None:
    folder = world.bundle()
    first, second = world.send(folder), world.send(folder, "job-2")
    assert (first.sequence, second.sequence) == (1, 2)
    assert world.shards(1) == []
    assert len(list((world.place / "1").iterdir())) == 1  # the envelope, for the chain
    world.take(tmp_path / "out")


def test_what_was_accepted_once_is_accepted_again_and_what_is_older_is_not(
    world: World, tmp_path: Path
) -> None:
    folder = world.bundle()
    world.send(folder)
    shutil.copytree(world.root / "exchange", tmp_path / "then")
    world.send(folder, "job-2")
    for number in range(2):
        world.take(tmp_path / f"out-{number}")
    shutil.rmtree(world.root / "exchange")
    (tmp_path / "then").rename(world.root / "exchange")
    with pytest.raises(BundleError, match="is not newer than sequence 2"):
        world.take(tmp_path / "old")
    assert not (tmp_path / "old").exists()


def test_another_envelope_of_an_accepted_sequence_is_refused(world: World, tmp_path: Path) -> None:
    folder = world.bundle()
    world.send(folder)
    world.take(tmp_path / "out")
    shutil.rmtree(world.place)
    shutil.rmtree(world.root / HOSPITAL / "home/books")
    world.send(folder, "job-of-a-thief")
    with pytest.raises(BundleError, match="is not newer than sequence 1"):
        world.take(tmp_path / "other")


def put_signed(world: World, **over: object) -> Envelope:
    """Put an envelope of the hospital's keys into its place, as their thief would."""
    facts: dict[str, Any] = {"bundle": "0" * 32, "name": "answer", "kind": "tombstone"}
    facts |= {"sender": HOSPITAL, "recipient": LAB, "job": "thief", "created": now(), "shards": ()}
    header = Header(**{**facts, "sequence": 1, **over})
    envelope = write_envelope(header, None, ring_of(HOSPITAL), [])
    FolderStore(world.root / "exchange").put(key_of(envelope), envelope.content)
    return envelope


LAST = (1 << 53) - 1


@pytest.mark.parametrize("kind", ["tombstone", "adapter"])
@pytest.mark.parametrize("sequence", [LAST, 1002])
def test_a_sequence_that_jumps_blocks_no_name(
    world: World, tmp_path: Path, kind: str, sequence: int
) -> None:
    put_signed(world, sequence=sequence, kind=kind)
    with pytest.raises(NotSentError, match=f"sequence {sequence} is ignored"):
        world.take(tmp_path / "nothing")
    folder = world.bundle()
    shutil.rmtree(world.place / str(sequence))  # its sender would have gone on behind 1002
    world.send(folder)
    put_signed(world, sequence=sequence, kind=kind)
    world.take(tmp_path / "first")
    if sequence == LAST:
        assert world.send(folder, "job-2").sequence == 2
        world.take(tmp_path / "second")


def test_an_envelope_that_jumps_is_refused_however_it_was_found(world: World) -> None:
    ledger = world.mailbox(LAB).ledger
    with pytest.raises(BundleError, match="is more than 1000 ahead of sequence 0"):
        ledger.accept(HOSPITAL, "answer", LAST, "sha256:" + "0" * 64)
    for sequence in (1000, 2000, 2001):
        ledger.accept(HOSPITAL, "answer", sequence, "sha256:" + "0" * 64)


@pytest.mark.parametrize("names", [5, 101])
def test_names_that_a_store_makes_up_carry_no_sequence_away(world: World, names: int) -> None:
    folder, store = world.bundle(), FolderStore(world.root / "exchange")
    for sequence in (*range(1, names + 1), LAST):
        store.put(f"{HOSPITAL}/{LAB}/answer/{sequence}/envelope-{'0' * 64}", b"{}")
    if names <= 100:
        assert world.send(folder).sequence == names + 1
    else:
        with pytest.raises(StorageError, match="lists 101 envelopes in a row that are not ours"):
            world.send(folder)


def test_an_envelope_of_the_future_is_refused(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    put_signed(world, sequence=2, created=now() + timedelta(minutes=4))
    with pytest.raises(BundleError, match="withdrew"):
        world.take(tmp_path / "out")
    for created in (now() + timedelta(minutes=6), datetime(8999, 12, 31, tzinfo=UTC)):
        put_signed(world, sequence=3, created=created)
        with pytest.raises(BundleError, match="is in the future: a clock is wrong"):
            world.take(tmp_path / "out")
        shutil.rmtree(world.place / "3")


def test_attempts_that_race_spoil_nothing(world: World, tmp_path: Path) -> None:
    folder, attempts = world.bundle(), list[Sent]()

    def attempt(number: int, meanwhile: Callable[[str], None]) -> None:
        mailbox = replace(
            world.mailbox(HOSPITAL),
            scratch=tmp_path / f"journals-{number}",
            journals=FolderArtifactStore(tmp_path / f"journals-{number}"),
            ledger=HomeLedger(tmp_path / f"books-{number}"),
        )
        sending = outgoing(folder, f"job-{number}")
        attempts.append(push(mailbox, sending, silent(), meanwhile))

    # the second one begins and ends while the first has all but its envelope there
    attempt(0, lambda digest: attempt(1, lambda other: None))
    assert [sent.sequence for sent in attempts] == [1, 1]
    mailbox = world.mailbox(LAB)
    first = min(sent.digest for sent in attempts)
    assert mailbox.incoming(HOSPITAL, Reference("answer")).digest == first
    for number, sent in enumerate(attempts):
        world.auditor().verify(sent.digest, silent())
        if sent.digest != first:
            world.take(tmp_path / f"out-{number}", f"answer@{sent.digest}")
    # what was accepted is what is taken again, though another one would be first
    last = max(sent.digest for sent in attempts)
    assert mailbox.incoming(HOSPITAL, Reference("answer")).digest == last


@pytest.mark.parametrize("gets", range(SHARDS))
def test_a_pull_that_failed_goes_on_where_it_was(world: World, tmp_path: Path, gets: int) -> None:
    folder, target = world.bundle(), tmp_path / "out"
    world.send(folder)
    mailbox = world.mailbox(LAB)
    envelope = mailbox.incoming(HOSPITAL, Reference("answer"))
    failing = replace(mailbox, store=Counting(world.root / "exchange", [], gets))
    with pytest.raises(StorageError, match="gone"):
        pull(failing, envelope, target, WHOLE, silent())
    assert not target.exists()
    counting = Counting(world.root / "exchange", [], SHARDS)
    pull(replace(mailbox, store=counting), envelope, target, WHOLE, silent())
    assert len(counting.asked) == SHARDS - gets
    assert read_manifest(target) == read_manifest(folder)
    assert not list(mailbox.scratch.iterdir())


def test_what_a_pull_left_is_checked_as_well(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    mailbox = world.mailbox(LAB)
    envelope = mailbox.incoming(HOSPITAL, Reference("answer"))
    failing = replace(mailbox, store=Counting(world.root / "exchange", [], SHARDS - 1))
    with pytest.raises(StorageError, match="gone"):
        pull(failing, envelope, tmp_path / "out", WHOLE, silent())
    (tmp_path / ".out.partial/even.bin").write_bytes(b"x" * 2 * SMALL)
    with pytest.raises(BundleError, match="damaged or changed"):
        pull(mailbox, envelope, tmp_path / "out", WHOLE, silent())
    pull(mailbox, envelope, tmp_path / "out", WHOLE, silent())


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("known", range(5))
def test_digests_are_taken_as_shards_come(
    tmp_path: Path, order: tuple[int, ...], known: int
) -> None:
    file, content = tmp_path / "adapter.safetensors", os.urandom(FILES["adapter.safetensors"])
    shards = [Shard(file=1, number=n, count=4, sha256=f"{n:064x}", size=1) for n in order]
    file.write_bytes(content)
    digests = Digests({1: file}, shards[:known])
    for shard in shards[known:]:
        digests.add(shard)
    if known < len(order):
        file.unlink()  # all that the last one waited for was read with it
    assert digests.of(file) == hashlib.sha256(content).hexdigest()


def test_two_pulls_to_one_place_do_not_meet(world: World, tmp_path: Path) -> None:
    folder, target = world.bundle(), tmp_path / "out"
    world.send(folder)
    ended: list[object] = []

    def take() -> None:
        try:
            ended.append(world.take(target))
        except InputError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(each, Manifest) for each in ended) == 1
    assert sum("already exists" in str(each) for each in ended) == 3
    assert read_manifest(target) == read_manifest(folder)


def test_what_came_to_lie_there_meanwhile_stays(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    target, mailbox = tmp_path / "out", world.mailbox(LAB)

    def check(folder: Path) -> None:
        target.mkdir()
        (target / "thesis.txt").touch()

    envelope = mailbox.incoming(HOSPITAL, Reference("answer"))
    with pytest.raises(InputError, match="already exists"):
        pull(mailbox, envelope, target, Checks(lambda manifest: None, check), silent())
    assert (target / "thesis.txt").exists()


def test_what_a_store_refuses_leaves_nothing(world: World, tmp_path: Path) -> None:
    class Refusing(FolderStore):
        """A store that gives the manifest, and nothing that was granted no more."""

        def get(self, key: str, most: int) -> bytes:
            if list((tmp_path / "new").rglob("manifest.json")):
                raise NotAllowedError("this account may not use it")
            return super().get(key, most)

    world.send(world.bundle())
    mailbox = replace(world.mailbox(LAB), store=Refusing(world.root / "exchange"))
    envelope = mailbox.incoming(HOSPITAL, Reference("answer"))
    with pytest.raises(NotAllowedError):
        pull(mailbox, envelope, tmp_path / "new/out", WHOLE, silent())
    assert not (tmp_path / "new").exists()
    assert not list(mailbox.scratch.glob("*.pull"))
    world.take(tmp_path / "new/out")


@pytest.mark.parametrize("gone", ["books", "all but the keys"])
def test_books_that_were_lost_harm_nothing(world: World, tmp_path: Path, gone: str) -> None:
    folder = world.bundle()
    for job in ("one", "two", "three"):
        world.send(folder, job)
    world.take(tmp_path / "third")
    home = world.root / HOSPITAL / "home"
    for name in ("books",) if gone == "books" else ("books", "journals", "published", "records"):
        shutil.rmtree(home / name, ignore_errors=True)
    assert world.send(folder, "four").sequence == 4
    world.take(tmp_path / "fourth")
    shutil.rmtree(home / "books")
    withdraw(world.mailbox(HOSPITAL), LAB, "answer")
    with pytest.raises(BundleError, match="withdrew"):
        world.take(tmp_path / "fifth")


@dataclass(frozen=True)
class Counting(FolderStore):
    """A folder that gives so many objects, and no more."""

    asked: list[str]
    most: int

    def get(self, key: str, most: int) -> bytes:
        if len(self.asked) == self.most:
            raise StorageError("the store is gone")
        self.asked.append(key)
        return super().get(key, most)


def test_a_worker_that_is_killed_is_told() -> None:
    with pytest.raises(OffsiteError, match="a worker process was killed"):
        list(in_workers(signal.raise_signal, [signal.SIGKILL] * 3, 1 << 40))


def test_a_damaged_book_is_told(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    world.take(tmp_path / "out")
    (book,) = (world.root / LAB / "home/books/ledger").glob("*.json")
    book.write_text("{")
    with pytest.raises(InputError, match="restore it from a backup"):
        world.take(tmp_path / "again")


def test_pulls_that_race_both_succeed(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    taken: list[Manifest] = []
    threads = [
        threading.Thread(target=lambda n=n: taken.append(world.take(tmp_path / f"out-{n}")))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 4
    accepted = world.mailbox(LAB).ledger.accepted(HOSPITAL, "answer")
    assert len(accepted) == 1


def test_a_second_push_of_one_bundle_is_refused_meanwhile(world: World) -> None:
    folder, said = world.bundle(), list[str]()

    def meanwhile(digest: str) -> None:
        with pytest.raises(
            OffsiteError, match="another process is sending answer to lab"
        ) as caught:
            world.send(folder)
        said.append(str(caught.value))

    push(world.mailbox(HOSPITAL), outgoing(folder, "job-1"), silent(), meanwhile)
    assert said


def test_what_was_taken_back_is_gone(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    sent = withdraw(world.mailbox(HOSPITAL), LAB, "answer")
    assert sent.sequence == 2
    assert world.shards(1) == []
    with pytest.raises(BundleError, match="hospital withdrew answer on"):
        world.take(tmp_path / "out")


@pytest.mark.parametrize("before", [0, 1], ids=["nothing", "a bundle"])
@pytest.mark.parametrize("lost", [["journals"], ["journals", "books"]], ids=" and ".join)
def test_what_a_push_left_whose_journal_was_lost_is_taken_back(
    world: World, tmp_path: Path, before: int, lost: list[str]
) -> None:
    folder = world.bundle()
    for number in range(before):
        world.send(folder, f"earlier-{number}")
    with pytest.raises(StorageError):
        push(failing(world.mailbox(HOSPITAL), 4), outgoing(folder, "job-1"), silent())
    for folder_of in lost:
        shutil.rmtree(tmp_path / HOSPITAL / "home" / folder_of)
    assert len(world.shards(before + 1)) == 4
    withdraw(world.mailbox(HOSPITAL), LAB, "answer")
    assert not [path for path in world.place.rglob("*") if len(path.name) == 64]
    world.send(folder, "job-2")
    world.take(tmp_path / "out")


def test_a_grant_that_ended_is_refused(world: World, tmp_path: Path) -> None:
    world.send(world.bundle(), grant=GrantTerms(expires=now() - timedelta(seconds=2)))
    with pytest.raises(BundleError, match=r"the grant of answer ended on .* ask hospital"):
        world.take(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_grant_counts_distinct_adapters(tmp_path: Path) -> None:
    ledger, grant = HomeLedger(tmp_path), GrantTerms(max_uses=2)
    for adapter in ("a", "b", "a", "b"):
        ledger.use("emulator", adapter, grant)
    with pytest.raises(BundleError, match="is used up: 2 adapters were accepted"):
        HomeLedger(tmp_path).use("emulator", "c", grant)
    ended = GrantTerms(expires=now() - timedelta(seconds=2))
    with pytest.raises(BundleError, match="ended on"):
        ledger.use("other", "a", ended)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(world: World) -> None:
    """Exchange what two shards hold."""
    one, other, *_ = world.shards()
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def folder_for_shard(world: World) -> None:
    """Put a folder in the place of a shard."""
    path = world.shards()[0]
    path.unlink()
    path.mkdir()


def envelope_of(world: World) -> Path:
    (found,) = world.place.rglob("envelope-*")
    return found


ATTACKS: dict[str, tuple[Callable[[World], object], str]] = {
    "a changed shard": (lambda w: flip(w.shards()[0]), "not the shard that the envelope names"),
    "a shorter shard": (lambda w: os.truncate(w.shards()[0], 5), "not the shard that the envel"),
    "a missing shard": (lambda w: w.shards()[3].unlink(), "a shard is missing"),
    "swapped shards": (swap, "not the shard that the envelope names|is larger than"),
    "a changed envelope": (lambda w: flip(envelope_of(w)), "its name is not its digest"),
    "no envelope": (lambda w: envelope_of(w).unlink(), "has sent lab no bundle named answer"),
    "an envelope of another sequence": (
        lambda w: shutil.copytree(w.place / "1", w.place / "7"),
        "is an envelope of hospital/lab/answer/1",
    ),
    "a huge envelope": (
        lambda w: os.truncate(envelope_of(w), 17 << 20),
        "is larger than 4194304 bytes",
    ),
    "a folder in place of a shard": (
        folder_for_shard,
        "cannot use|a shard is missing",
    ),
}


@pytest.mark.parametrize("case", ATTACKS)
def test_what_the_store_does_is_found_out(world: World, tmp_path: Path, case: str) -> None:
    world.send(world.bundle())
    attack, said = ATTACKS[case]
    attack(world)
    with pytest.raises(InputError, match=said):
        world.take(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert world.mailbox(LAB).ledger.accepted(HOSPITAL, "answer") == []


def test_foreign_objects_are_skipped(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    for name in ("junk", "1/junk", "01/" + "0" * 64, "1/" + "0" * 64, "9/" + "0" * 64, "x/y/z"):
        path = world.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"junk")
    (world.place / "1" / ("a" * 64)).symlink_to("/etc/passwd")
    world.take(tmp_path / "out")


def test_a_bundle_for_another_party_is_ignored(world: World, tmp_path: Path) -> None:
    world.send(world.bundle())
    inbox = world.root / "exchange" / HOSPITAL / "clinic" / "answer"
    shutil.copytree(world.place, inbox)
    with pytest.raises(BundleError, match="is an envelope of hospital/lab/answer/1"):
        world.take(tmp_path / "out", party="clinic")


def test_a_chain_leads_back_to_where_it_began(world: World, tmp_path: Path) -> None:
    lab = world.mailbox(LAB)
    question = world.bundle("question", by=LAB, to=HOSPITAL)
    asked = push(lab, Outgoing(question, HOSPITAL, "job-0"), silent())
    answered = world.send(world.bundle(), parent=asked.digest)
    chain = world.auditor().chain(answered.digest)
    assert [link.digest for link in chain] == [answered.digest, asked.digest]
    shutil.rmtree(world.root / "exchange" / LAB)
    with pytest.raises(InputError, match=f"there is no envelope {asked.digest}"):
        world.auditor().chain(answered.digest)


class Recording:
    """A store that counts what it is asked."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.asked = Counter[str]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in ("get", "sizes"):
            return found

        def asked(key: str, *more: Any) -> Any:
            self.asked[f"{name} {key}"] += 1
            return found(key, *more)

        return asked


def test_an_audit_lists_and_reads_everything_once(world: World) -> None:
    question = world.bundle("question", by=LAB, to=HOSPITAL)
    asked = push(world.mailbox(LAB), Outgoing(question, HOSPITAL, "job-0"), silent())
    answered = world.send(world.bundle(), parent=asked.digest)
    auditor = world.auditor()
    store: Any = Recording(auditor.store)
    assert len(replace(auditor, store=store).chain(answered.digest)) == 2
    assert set(store.asked.values()) == {1}, store.asked


def test_a_push_reads_no_envelope_twice(world: World) -> None:
    folder, hospital = world.bundle(), world.mailbox(HOSPITAL)
    first = world.send(folder)
    shards = [path for path in (world.place / "1").iterdir() if "envelope" not in path.name]
    shards[0].unlink()  # so the envelope in the job's own sequence is not whole
    store: Any = Recording(hospital.store)
    again = push(replace(hospital, store=store), outgoing(folder, "job-1"), silent())
    assert (first.sequence, again.sequence) == (1, 2)
    read = {key: times for key, times in store.asked.items() if "envelope" in key}
    assert set(read.values()) == {1}, read


def test_a_chain_that_ends_nowhere_is_refused(world: World) -> None:
    answered = world.send(world.bundle())
    with pytest.raises(BundleError, match="ends at the adapter answer, not at an emulator"):
        world.auditor().chain(answered.digest)


def test_a_withdrawn_bundle_can_be_sent_again(world: World, tmp_path: Path) -> None:
    folder = world.bundle()
    world.send(folder)
    withdraw(world.mailbox(HOSPITAL), LAB, "answer")
    assert world.send(folder).sequence == 3
    world.take(tmp_path / "out")


def test_going_back_is_a_new_sequence(world: World, tmp_path: Path) -> None:
    first, second = world.bundle(), world.bundle("second")
    manifest = (second / "manifest.json").read_text().replace('"second"', '"answer"')
    (second / "manifest.json").write_text(manifest)
    for number, (folder, job) in enumerate([(first, "one"), (second, "two"), (first, "one")], 1):
        assert world.send(folder, job).sequence == number
    world.take(tmp_path / "out")


def test_a_tombstone_that_was_seen_is_remembered(world: World, tmp_path: Path) -> None:
    sent = world.send(world.bundle())
    shutil.copytree(world.place, tmp_path / "then")
    withdraw(world.mailbox(HOSPITAL), LAB, "answer")
    shutil.copytree(tmp_path / "then", world.place, dirs_exist_ok=True)
    for reference in ("answer", f"answer@{sent.digest}"):
        with pytest.raises(BundleError, match="withdrew answer"):
            world.take(tmp_path / "out", reference)
    shutil.rmtree(world.place / "2")
    with pytest.raises(BundleError, match="is not newer than sequence 2"):
        world.take(tmp_path / "out")


def test_a_journal_is_of_one_exchange(world: World, tmp_path: Path) -> None:
    folder, mailbox = world.bundle(), world.mailbox(HOSPITAL)
    with pytest.raises(StorageError):
        push(failing(mailbox, 5), outgoing(folder, "job-1"), silent())
    other = replace(mailbox, store=FolderStore(tmp_path / "elsewhere"))
    push(other, outgoing(folder, "job-1"), silent())
    lab = replace(world.mailbox(LAB), store=other.store)
    envelope = lab.incoming(HOSPITAL, Reference("answer"))
    pull(lab, envelope, tmp_path / "out", WHOLE, silent())


def test_shards_that_were_lost_are_sent_again(world: World, tmp_path: Path) -> None:
    folder = world.bundle()
    with pytest.raises(StorageError):
        push(failing(world.mailbox(HOSPITAL), 5), outgoing(folder, "job-1"), silent())
    world.shards()[1].unlink()
    world.send(folder)
    world.take(tmp_path / "out")


def test_a_bundle_for_a_revoked_key_is_sent_again(world: World, tmp_path: Path) -> None:
    folder, lab = world.bundle(), world.mailbox(LAB)
    world.send(folder)
    ring = lab.ring.rotated(timedelta(days=1))
    peers = world.mailbox(HOSPITAL).peers
    for each in (ring, ring.revoked(lab.ring.newest("encrypt").id)):
        peers.add(canonical(each.public().wire()), "lab.pub")
    assert world.send(folder).sequence == 2
    later = replace(lab, ring=ring.revoked(lab.ring.newest("encrypt").id))
    envelope = later.incoming(HOSPITAL, Reference("answer"))
    pull(later, envelope, tmp_path / "out", WHOLE, silent())


def test_what_cannot_be_read_is_passed_over_in_a_list(world: World) -> None:
    world.send(world.bundle())
    (world.place / "1" / f"envelope-{'0' * 64}").write_bytes(b"{}")
    found = list(world.auditor().envelopes())
    assert [type(each) for each in found].count(BundleError) == 1
    assert len(found) == 2


def test_a_chain_between_other_parties_is_refused(world: World) -> None:
    clinic = world.bundle("clinical", by="clinic", to=LAB)
    asked = push(world.mailbox("clinic"), Outgoing(clinic, LAB, "job-0"), silent())
    answered = world.send(world.bundle(), parent=asked.digest)
    with pytest.raises(BundleError, match="answers clinical, which was not sent to hospital"):
        world.auditor().chain(answered.digest)


def test_verify_finds_a_changed_shard(world: World) -> None:
    sent = world.send(world.bundle())
    world.auditor().verify(sent.digest, silent())
    flip(world.shards()[2])
    with pytest.raises(BundleError, match="not the shard that the envelope names"):
        world.auditor().verify(sent.digest, silent())


def test_a_name_that_the_store_made_up_hides_no_changed_shard(world: World) -> None:
    folder = world.bundle()
    first = world.send(folder)
    flip(world.shards()[2])
    junk = world.place / "2" / f"envelope-{'0' * 64}"
    junk.parent.mkdir()
    for content in (b"", b"{}", envelope_of(world).read_bytes()):
        junk.write_bytes(content)
        with pytest.raises(BundleError, match="not the shard that the envelope names"):
            world.auditor().verify(first.digest, silent())
        junk.unlink()
    world.send(folder, "job-2")
    world.auditor().verify(first.digest, silent())


def test_a_bundle_whose_manifest_names_another_sender_is_refused(
    world: World, tmp_path: Path
) -> None:
    world.send(world.bundle(by="clinic"))
    with pytest.raises(BundleError, match="manifest of answer of clinic for lab"):
        world.take(tmp_path / "out")


def test_sizes_that_are_made_up_are_refused(world: World, tmp_path: Path) -> None:
    folder = world.bundle()
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    for entry in content["files"].values():
        entry["size"] = 1 << 44
    path.write_text(json.dumps(content))
    world.send(folder)
    with pytest.raises(BundleError, match="are not those of the manifest's files"):
        world.take(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_keys_after_a_rotation_are_taken(world: World, tmp_path: Path) -> None:
    mailbox = world.mailbox(HOSPITAL)
    later = replace(mailbox, ring=ring_of(HOSPITAL).rotated(timedelta(days=1)))
    push(later, outgoing(world.bundle(), "job-1"), silent())
    with pytest.raises(BundleError, match="ask for its newest public file"):
        world.take(tmp_path / "out")
