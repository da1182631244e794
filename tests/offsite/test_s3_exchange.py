"""Two parties over a real MinIO: the stages, and bundles of several shards that are cut off."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from offsite.bundle import (
    PROVENANCE,
    AdapterFacts,
    check_plugged_in,
    check_whole,
    read_manifest,
    write_manifest,
)
from offsite.config import load_job
from offsite.errors import InputError, InterruptedStage, NotAllowedError, NotSentError
from offsite.events import Event, Monitor
from offsite.exchange import WHOLE, FailedJob, Mailbox, Outgoing, Reference, pull, push, send_notice
from offsite.exchange.home import open_auditor, open_mailbox
from offsite.sealing import Envelope, Notice
from offsite.stages.run import run_job
from offsite.steps import Party
from offsite.store.admin import ExchangeAdmin
from offsite.store.credentials import Credentials, write_credentials
from offsite.store.open import open_store
from offsite.store.private_store import PrivateStore
from offsite.store.s3 import S3Store
from offsite_testing.core import silent
from offsite_testing.events import Wire, recording
from offsite_testing.minio_server import MinioServer, running_minio
from offsite_testing.parties import (
    ADAPTER,
    EMULATOR,
    HOSPITAL,
    LAB,
    PLUGGED,
    Parties,
    distill,
    introduce,
    new_parties,
    plug_in,
    ring_of,
    tune,
)

pytestmark = pytest.mark.timeout(900)  # the first may build the server
URI = "s3://exchange"
MIB = 1 << 20


@dataclass(frozen=True)
class Exchange:
    """A MinIO with an account for each of two parties."""

    server: MinioServer
    credentials: Path

    def environ(self, party: str) -> dict[str, str]:
        return {
            "OFFSITE_EXCHANGE_ENDPOINT": self.server.endpoint,
            "OFFSITE_EXCHANGE_CREDENTIALS": str(self.credentials / f"{party}.json"),
        }

    def own(self, folder: Path) -> dict[str, str]:
        """The environment of a party's private store, on the same server."""
        keys = folder / "private.json"
        if not keys.exists():
            write_credentials(keys, Credentials(self.server.user, self.server.password))
        return {
            "OFFSITE_PRIVATE_ENDPOINT": self.server.endpoint,
            "OFFSITE_PRIVATE_CREDENTIALS": str(keys),
        }

    def mailbox(self, home: Path, party: str) -> Mailbox:
        return open_mailbox(home, URI, self.environ(party))

    def versions(self, prefix: str) -> Counter[str]:
        """Count how often each object below a prefix was put: each put is a version."""
        listed = self.server.root().list_objects(
            "exchange", prefix=prefix, recursive=True, include_version=True
        )
        return Counter(str(each.object_name) for each in listed if not each.is_delete_marker)


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Run a server, set up as an administrator does."""
    folder = tmp_path_factory.mktemp("minio")
    with running_minio(folder / "server") as server:
        admin = ExchangeAdmin(server.store("exchange"))
        admin.prepare()
        for party, peer in ((LAB, HOSPITAL), (HOSPITAL, LAB)):
            admin.grant(party, peer, folder / "credentials")
        yield Exchange(server, folder / "credentials")


def run(
    parties: Parties,
    exchange: Exchange,
    name: str,
    spec: dict[str, Any],
    check: Callable[[], None] = lambda: None,
) -> list[Wire]:
    """Run a job; `check` is called with every event."""
    path, events = parties.write(name, spec), list[Wire]()
    home = path.parent / "home"
    mailbox = exchange.mailbox(home, path.parent.name)
    private_store = PrivateStore(home / "copies", mailbox.store, exchange.own(path.parent))
    party = Party.on_this_machine(mailbox.id, home, private_store, path.parent, 60.0)

    def told(event: Event) -> None:
        events.append(event.wire())
        check()

    run_job(load_job(path), party, mailbox, Monitor(told))
    return events


def begun(exchange: Exchange, root: Path) -> Parties:
    """Lay two parties out, who have sent each other nothing yet."""
    store = exchange.server.store("exchange")
    store.delete(store.sizes(""))
    return new_parties(root)


def test_the_three_stages_over_the_store(exchange: Exchange, tmp_path: Path) -> None:
    parties = begun(exchange, tmp_path)
    jobs = ((EMULATOR, distill(None)), (ADAPTER, tune(4)), (PLUGGED, plug_in()))
    for name, spec in jobs:
        told = run(parties, exchange, name, spec)
        assert told[-1]["event"] == "done"
    plugged = parties.home(LAB) / "home/models" / PLUGGED
    assert (plugged / PROVENANCE).is_file()
    home = parties.home(HOSPITAL) / "home"
    auditor = open_auditor(home, URI, exchange.environ(HOSPITAL))
    adapter = exchange.mailbox(parties.home(LAB) / "home", LAB).incoming(
        HOSPITAL, Reference(ADAPTER)
    )
    chain = auditor.chain(adapter.digest)
    assert [link.header.name for link in chain] == [ADAPTER, EMULATOR]
    for name, spec in jobs:
        again = run(parties, exchange, name, spec)
        assert [event["event"] for event in again] == ["started", "artifact", "done"]


@pytest.mark.parametrize(
    ("file", "told"),
    [("mistyped", "does not accept these credentials"), (f"{LAB}.reader", "no permission for")],
)
def test_who_may_not_send_is_told_before_the_work(
    exchange: Exchange, tmp_path: Path, file: str, told: str
) -> None:
    parties, events = new_parties(tmp_path), list[Wire]()
    ExchangeAdmin(exchange.server.store("exchange")).add_reader(LAB, exchange.credentials)
    wrong = Credentials(f"offsite.exchange.{LAB}", "wrong-key")
    write_credentials(exchange.credentials / "mistyped.json", wrong)
    environ = exchange.environ(LAB)
    environ["OFFSITE_EXCHANGE_CREDENTIALS"] = str(exchange.credentials / f"{file}.json")
    mailbox = open_mailbox(parties.home(LAB) / "home", URI, environ)
    job = load_job(parties.write(EMULATOR, distill()))
    with pytest.raises(NotAllowedError, match=told) as refused:
        run_job(job, parties.party(LAB), mailbox, Monitor(recording(events)))
    assert refused.value.exit_code == 4
    assert [event["event"] for event in events] == ["started"]


def test_what_is_tried_in_the_exchange_leaves_nothing(exchange: Exchange, tmp_path: Path) -> None:
    parties = begun(exchange, tmp_path)
    run(parties, exchange, "emulator-tried", distill(None))
    mailbox = exchange.mailbox(parties.home(LAB) / "home", LAB)
    assert all(f"{LAB}/{HOSPITAL}/" in key for key in mailbox.store.sizes(f"{LAB}/"))


def test_a_party_tells_that_it_failed_with_the_rights_it_has(
    exchange: Exchange, tmp_path: Path
) -> None:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    lab, hospital = (exchange.mailbox(tmp_path / who / "home", who) for who in (LAB, HOSPITAL))
    for number in (1, 2, 2):
        notice = Notice.of("Tune", "DataError", f"attempt {number}")
        send_notice(hospital, FailedJob(LAB, "told", "job", notice, round=number))
    assert exchange.versions(f"{HOSPITAL}/{LAB}/told/").total() == 2
    with pytest.raises(NotSentError, match=r"its Tune told failed on .* DataError: attempt 2$"):
        lab.incoming(HOSPITAL, Reference("told"))
    folder = small_bundle(tmp_path, "told", HOSPITAL, LAB)
    push(hospital, Outgoing(folder, LAB, job="job"), silent())
    assert f"{HOSPITAL}/{LAB}/told/notice" not in lab.store.sizes(f"{HOSPITAL}/{LAB}/told/")
    assert lab.incoming(HOSPITAL, Reference("told")).header.kind == "adapter"


def test_each_of_three_sees_what_is_its_own(exchange: Exchange, tmp_path: Path) -> None:
    clinic = "clinic"
    admin = ExchangeAdmin(exchange.server.store("exchange"))
    admin.grant(clinic, LAB, exchange.credentials)
    admin.grant(LAB, clinic, exchange.credentials)
    introduce(*(tmp_path / name for name in (LAB, HOSPITAL, clinic)))
    for number, (sender, to) in enumerate([(clinic, LAB), (HOSPITAL, LAB)]):
        folder = small_bundle(tmp_path, f"note-{number}", sender, to)
        mailbox = exchange.mailbox(tmp_path / sender / "home", sender)
        push(mailbox, Outgoing(folder, to, job="job"), silent())
    auditor = open_auditor(tmp_path / LAB / "home", URI, exchange.environ(LAB))
    found = [each.header.name for each in auditor.envelopes() if isinstance(each, Envelope)]
    assert {"note-0", "note-1"} <= set(found)
    # the clinic was granted nothing of the hospital's, and goes on
    other = open_auditor(tmp_path / clinic / "home", URI, exchange.environ(clinic))
    seen = list(other.envelopes())
    assert [each.header.name for each in seen if isinstance(each, Envelope)] == ["note-0"]
    assert [each for each in seen if isinstance(each, NotAllowedError)]
    (sent,) = (each for each in seen if isinstance(each, Envelope))
    assert other.verify(sent.digest, silent()) == sent
    with pytest.raises(InputError, match="no permission to list: hospital to clinic"):
        other.read("sha256:" + "0" * 64)
    wrong = replace(exchange.server.store("exchange"), secret_key="wrong-secret")
    for look in (lambda who: list(who.envelopes()), lambda who: who.read(sent.digest)):
        with pytest.raises(NotAllowedError, match="does not accept these credentials"):
            look(replace(other, store=wrong))


def test_an_operator_sees_what_came_and_no_shard(exchange: Exchange, tmp_path: Path) -> None:
    admin = ExchangeAdmin(exchange.server.store("exchange"))
    admin.add_reader(LAB, exchange.credentials)
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    homes = {who: exchange.mailbox(tmp_path / who / "home", who) for who in (LAB, HOSPITAL)}
    for sender, to in ((LAB, HOSPITAL), (HOSPITAL, LAB)):
        folder = small_bundle(tmp_path, f"seen-{sender}", sender, to)
        push(homes[sender], Outgoing(folder, to, job="job"), silent())
    environ = exchange.environ(f"{LAB}.reader")
    reader = replace(homes[LAB], store=open_store(URI, "OFFSITE_EXCHANGE", environ))
    came = reader.incoming(HOSPITAL, Reference(f"seen-{HOSPITAL}"))
    # its own envelopes too: what was granted stands in them
    auditor = open_auditor(tmp_path / LAB / "home", URI, environ)
    found = [each.header.name for each in auditor.envelopes() if isinstance(each, Envelope)]
    assert {f"seen-{LAB}", f"seen-{HOSPITAL}"} <= set(found)
    notice = Notice.of("Tune", "BundleError", "")
    send_notice(homes[HOSPITAL], FailedJob(LAB, "to-come", "job", notice))
    assert reader.inbox.notice(HOSPITAL, "to-come") is not None
    with pytest.raises(NotAllowedError):
        pull(reader, came, tmp_path / "out", WHOLE, silent())
    with pytest.raises(NotAllowedError):
        reader.store.put(f"{LAB}/{HOSPITAL}/seen/1/x", b"x")
    pull(homes[LAB], came, tmp_path / "out", WHOLE, silent())


def small_bundle(root: Path, name: str, sender: str, to: str) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "adapter.safetensors").write_bytes(b"weights")
    facts = AdapterFacts(method="LoRA", scope="All", rank=1, answers="sha256:" + "0" * 64)
    fields: dict[str, Any] = {"architecture": "X", "dtype": "float32", "facts": facts}
    write_manifest(folder, name=name, made_by=sender, made_for=to, **fields)
    return folder


def test_models_and_texts_may_lie_in_a_private_store(exchange: Exchange, tmp_path: Path) -> None:
    parties = begun(exchange, tmp_path)
    lab, private = parties.home(LAB), exchange.server.store("lab-models")
    into_store(private, lab)
    texts, model = "s3://lab-models/texts", {"model": "s3://lab-models/tiny"}
    shared = {"evaluate": f"{texts}/shared.jsonl"}
    emulator = {"blocks": 2, "calibration": f"{texts}/corpus.txt"}
    run(parties, exchange, EMULATOR, distill(None, emulator=emulator, **model, **shared))
    run(parties, exchange, ADAPTER, tune(4))
    spec = plug_in(export={"to": "s3://lab-models/out/plugged/"}, **model, **shared)
    work = lab / "home/work"

    def cut_off() -> None:
        if len(private.sizes("out/plugged/")) > 0:
            raise InterruptedStage("as on a signal")

    with pytest.raises(InterruptedStage):
        run(parties, exchange, PLUGGED, spec, cut_off)
    there = private.sizes("out/plugged/")
    assert f"out/plugged/{PROVENANCE}" not in there
    assert list(work.iterdir())
    told = run(parties, exchange, PLUGGED, spec)
    # made once: the second attempt only delivers
    assert not [event for event in told if event["event"] == "metric"]
    assert told[-2]["uri"] == "s3://lab-models/out/plugged"
    assert not list(work.iterdir())
    again = run(parties, exchange, PLUGGED, spec)
    assert [event["event"] for event in again] == ["started", "artifact", "done"]
    check_plugged_in(copy_of(private, "out/plugged/", tmp_path / "copy"), [ring_of(LAB).public()])
    private.put("out/plugged/config.json", b"{}")
    with pytest.raises(InputError, match="out/plugged differs"):
        run(parties, exchange, PLUGGED, spec)


def into_store(store: S3Store, lab: Path) -> None:
    """Put the lab's model and texts into a bucket, and take them from the disk."""
    store.client().make_bucket(store.bucket)
    for path in (lab / "model").iterdir():
        store.put(f"tiny/{path.name}", path.read_bytes())
    for text in ("corpus.txt", "shared.jsonl"):
        store.put(f"texts/{text}", (lab / text).read_bytes())
        (lab / text).unlink()
    shutil.rmtree(lab / "model")


def copy_of(store: S3Store, prefix: str, folder: Path) -> Path:
    """Copy what lies below a prefix."""
    folder.mkdir()
    for key, size in store.sizes(prefix).items():
        (folder / key.removeprefix(prefix)).write_bytes(store.get(key, size))
    return folder


def test_an_account_cannot_read_without_a_grant(exchange: Exchange, tmp_path: Path) -> None:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    mailbox = exchange.mailbox(tmp_path / LAB / "home", LAB)
    with pytest.raises(NotAllowedError):
        mailbox.store.sizes("hospital/clinic/")
    with pytest.raises(NotAllowedError):
        mailbox.store.put("hospital/lab/x/1/y", b"forged")


SHARDS, WORKERS = 4, 4


def large_bundle(root: Path, name: str) -> Path:
    """Make a bundle of three whole shards and a little more, of random bytes."""
    folder = root / name
    folder.mkdir()
    with (folder / "adapter.safetensors").open("wb") as file:
        for _ in range(3):
            file.write(os.urandom(64 * MIB))
    (folder / "more.bin").write_bytes(os.urandom(MIB))
    facts = AdapterFacts(method="LoRA", scope="All", rank=1, answers="sha256:" + "0" * 64)
    fields: dict[str, Any] = {"architecture": "X", "dtype": "float32", "facts": facts}
    write_manifest(folder, name=name, made_by=HOSPITAL, made_for=LAB, **fields)
    return folder


def pushing(exchange: Exchange, root: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start `offsite bundles push` as the hospital."""
    command = [sys.executable, "-m", "offsite_cli", "bundles", "push", str(folder)]
    command += ["--peer", LAB, "--home", str(root / HOSPITAL / "home"), "--exchange", URI]
    environ = {**os.environ, **exchange.environ(HOSPITAL)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)


def pulling(exchange: Exchange, root: Path, target: Path) -> subprocess.Popen[bytes]:
    """Start `offsite bundles pull` as the lab."""
    command = [sys.executable, "-m", "offsite_cli", "bundles", "pull", "fetched", str(target)]
    command += ["--peer", HOSPITAL, "--home", str(root / LAB / "home"), "--exchange", URI]
    environ = {**os.environ, **exchange.environ(LAB)}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)


def until_some_put(exchange: Exchange, prefix: str, push: subprocess.Popen[bytes]) -> None:
    """Wait until a push has put two objects, and is not done."""
    while exchange.versions(prefix).total() < 2:
        assert push.poll() is None, "it ended before anything could be killed"
        time.sleep(0.02)


def family_of(pid: int) -> list[int]:
    """List a process and all that it started, as far as they live."""
    found = [pid]
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += family_of(int(path.parent.name))
    return found


def peak_of(pid: int) -> int:
    """Measure the most memory that a process had, in bytes; 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(peaks[0]) * 1024 if peaks else 0


def take(exchange: Exchange, root: Path, name: str) -> None:
    """Pull a bundle as the lab, and compare."""
    mailbox = exchange.mailbox(root / LAB / "home", LAB)
    envelope = mailbox.incoming(HOSPITAL, Reference(name))
    pull(mailbox, envelope, root / f"{name}-taken", WHOLE, silent())
    assert read_manifest(root / f"{name}-taken") == read_manifest(root / name)


def test_a_killed_push_sends_little_again_at_constant_memory(
    exchange: Exchange, tmp_path: Path
) -> None:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    folder, prefix = large_bundle(tmp_path, "killed"), f"{HOSPITAL}/{LAB}/killed/"
    first = pushing(exchange, tmp_path, folder)
    until_some_put(exchange, prefix, first)
    processes = family_of(first.pid)
    first.send_signal(signal.SIGKILL)
    first.wait()
    end = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in processes[1:]):
        assert time.monotonic() < end, "its workers outlived it"
        time.sleep(0.05)
    arrived = exchange.versions(prefix)
    again, peaks = pushing(exchange, tmp_path, folder), dict[int, int]()
    while again.poll() is None:
        for pid in family_of(again.pid):
            peaks[pid] = max(peaks.get(pid, 0), peak_of(pid))
        time.sleep(0.02)
    assert again.returncode == 0
    # four shards, the manifest and the envelope: what had arrived was not sent again
    there = exchange.versions(prefix)
    assert {key: there[key] for key in arrived} == dict.fromkeys(arrived, 1)
    assert there.total() <= SHARDS + 2 + WORKERS
    assert len(exchange.server.store("exchange").sizes(prefix)) == SHARDS + 2, "some lie about"
    assert 0 < max(peaks.values()) < 512 * MIB
    take(exchange, tmp_path, "killed")


def test_a_killed_pull_fetches_little_again(exchange: Exchange, tmp_path: Path) -> None:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    folder, target = large_bundle(tmp_path, "fetched"), tmp_path / "taken"
    assert pushing(exchange, tmp_path, folder).wait() == 0
    (journals := tmp_path / LAB / "home/journals").mkdir()
    first = pulling(exchange, tmp_path, target)
    while not (there := [path.read_text() for path in journals.glob("*.pull")]) or not (
        1 < there[0].count("\n") < SHARDS
    ):
        assert first.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.wait()
    time.sleep(0.5)  # its workers end, too
    known = next(journals.glob("*.pull")).read_text().splitlines()
    # what is there already the store need not give again
    for sha256 in known:
        (key,) = exchange.server.store("exchange").sizes(f"{HOSPITAL}/{LAB}/fetched/").keys() & {
            f"{HOSPITAL}/{LAB}/fetched/1/{sha256}"
        }
        exchange.server.store("exchange").delete([key])
    assert pulling(exchange, tmp_path, target).wait() == 0
    assert read_manifest(target) == read_manifest(folder)
    check_whole(target)
    assert not list(journals.iterdir())


def test_a_server_that_is_killed_meanwhile_loses_nothing(
    exchange: Exchange, tmp_path: Path
) -> None:
    introduce(tmp_path / LAB, tmp_path / HOSPITAL)
    folder, prefix = large_bundle(tmp_path, "restarted"), f"{HOSPITAL}/{LAB}/restarted/"
    push = pushing(exchange, tmp_path, folder)
    until_some_put(exchange, prefix, push)
    exchange.server.kill()
    time.sleep(2)
    exchange.server.start()
    assert push.wait() == 0
    take(exchange, tmp_path, "restarted")
