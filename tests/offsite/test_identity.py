"""Identities: rings, their files, and which public file may follow a pinned one."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from offsite.errors import BundleError, DiskFullError, InputError
from offsite.exchange import home
from offsite.exchange.home import keep_ring, own_public, own_ring, public_path
from offsite.sealing import PublicRing, Ring, identity, load_ring, publicfile, save_ring
from offsite.sealing.identity import Entry
from offsite.sealing.peers import Peers
from offsite.sealing.publicfile import read_public, successor_problem
from offsite.wire import canonical, now
from offsite_testing.hostile_peer import endorsed
from offsite_testing.parties import ring_of

LAB = ring_of("lab")
LATER = LAB.rotated(timedelta(days=30))


def public_file(ring: Ring | PublicRing) -> bytes:
    public = ring.public() if isinstance(ring, Ring) else ring
    return canonical(public.wire())


def signer(ring: Ring, place: int) -> str:
    return [entry.id for entry in ring.entries if entry.purpose == "sign"][place]


def at(monkeypatch: pytest.MonkeyPatch, since: timedelta) -> None:
    """Set the clock by which keys count."""
    moment = now() + since
    for module in (identity, publicfile):
        monkeypatch.setattr(module, "now", lambda: moment)


def test_a_ring_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keys/ring.json"
    save_ring(LATER, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_ring(path) == LATER


def test_a_passphrase_hides_everything(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    save_ring(LAB, path, "correct horse")
    assert load_ring(path, "correct horse") == LAB
    content = path.read_text()
    assert "lab" not in content
    assert LAB.entries[0].id not in content
    with pytest.raises(InputError, match=r"ring\.json is encrypted; set OFFSITE_PASSPHRASE_FILE"):
        load_ring(path)
    with pytest.raises(InputError, match=r"passphrase of .* is wrong, or the file is damaged"):
        load_ring(path, "battery staple")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ring.json"
    save_ring(LAB, path)
    path.chmod(mode)
    with pytest.raises(InputError, match=f"can read the .*; run: chmod 600 {path}"):
        load_ring(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", b"\xff", b'{"id": "lab"}'])
def test_what_is_no_ring_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ring.json"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a ring of `offsite keys init`"):
        load_ring(path)
    with pytest.raises(InputError, match="create them with `offsite keys init`"):
        load_ring(tmp_path / "nowhere.json")


def test_nothing_secret_is_in_a_public_file_or_a_representation() -> None:
    text = public_file(LAB).decode() + repr(LAB)
    assert "PRIVATE" not in text
    for entry in LAB.entries:
        assert entry.keyset["key"][0]["keyData"]["value"] not in text


def test_a_fingerprint_is_of_the_keys_and_short_enough_to_read_out() -> None:
    fingerprint = LAB.public().fingerprint
    assert fingerprint == read_public(public_file(LAB), "x").fingerprint
    assert [len(group) for group in fingerprint.split(" ")] == [4] * 8
    assert fingerprint not in (LATER.public().fingerprint, Ring.new("lab").public().fingerprint)


def test_new_things_use_the_newest_key_and_old_ones_still_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert LATER.newest("sign").id == signer(LATER, 1)
    assert LATER.newest("encrypt") != LAB.newest("encrypt")
    assert LATER.decrypting(LAB.newest("encrypt").id) is not None
    public = LATER.public()
    assert public.signer(signer(LATER, 0), now()).id == signer(LAB, 0)
    later = now() + timedelta(days=31)
    with pytest.raises(BundleError, match="is in the future: a clock is wrong"):
        public.signer(signer(LATER, 0), later)
    at(monkeypatch, timedelta(days=31))
    with pytest.raises(BundleError, match="was not valid on"):
        public.signer(signer(LATER, 0), later)


def test_a_revoked_key_counts_for_nothing() -> None:
    revoked = LATER.revoked(signer(LATER, 0)).revoked(LAB.newest("encrypt").id)
    with pytest.raises(BundleError, match="was revoked on"):
        revoked.public().signer(signer(LATER, 0), now())
    assert revoked.decrypting(LAB.newest("encrypt").id) is None
    assert revoked.newest("sign").id == signer(LATER, 1)


def test_clocks_may_differ_a_little_and_more_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ring, real = Ring.new("hospital"), now()
    for minutes in (4, 6):
        monkeypatch.setattr(identity, "now", lambda m=minutes: real - timedelta(minutes=m))
        if minutes == 4:
            assert ring.public().newest("encrypt").purpose == "encrypt"
        else:
            with pytest.raises(InputError, match="a clock is wrong"):
                ring.public().newest("encrypt")


def test_a_salt_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ring.json"
    save_ring(Ring.new("lab"), path, "correct horse")
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "salt": "AA=="}))
    with pytest.raises(InputError, match="is wrong, or the file is damaged"):
        load_ring(path, "correct horse")


def test_the_only_key_is_not_revoked() -> None:
    with pytest.raises(InputError, match="is the only key to sign with; rotate first"):
        LAB.revoked(signer(LAB, 0))
    with pytest.raises(InputError, match="there is no key 123"):
        LAB.revoked("123")


def test_a_full_ring_stays_as_it_is() -> None:
    ring = LAB
    while len(ring.entries) < 64:
        ring = ring.model_copy(update={"entries": (*ring.entries, *LAB.entries)})
    with pytest.raises(InputError, match="the ring of lab is full: 64 keys"):
        ring.rotated(timedelta(days=1))


def test_one_party_has_one_alias(tmp_path: Path) -> None:
    peers = Peers(tmp_path)
    peers.add(public_file(LAB), "lab.pub")
    with pytest.raises(InputError, match="lab is already pinned as lab"):
        peers.add(public_file(Ring.new("lab")), "other.pub", "ally")


def test_a_key_that_cannot_do_its_work_is_refused(tmp_path: Path) -> None:
    signing = next(e for e in LAB.entries if e.purpose == "sign")
    odd = Entry(id="0" * 16, purpose="encrypt", not_before=now(), keyset=signing.keyset)
    ring = LAB.model_copy(update={"entries": (*LAB.entries, odd)})
    with pytest.raises(InputError, match="has a key 0000000000000000 that cannot encrypt"):
        Peers(tmp_path).add(public_file(ring), "lab.pub")


def test_a_key_that_nothing_can_be_sealed_to_is_refused_although_its_owner_signed_it(
    tmp_path: Path,
) -> None:
    public = LAB.public()
    entry = public.newest("encrypt")
    useless = {name: value for name, value in entry.keyset.items() if name != "primaryKeyId"}
    entries = tuple(
        each.model_copy(update={"keyset": useless}) if each == entry else each
        for each in public.entries
    )
    ring = endorsed(public.model_copy(update={"entries": entries}), LAB)
    with pytest.raises(InputError, match=f"has a key {entry.id} that cannot encrypt"):
        Peers(tmp_path).add(public_file(ring), "lab.pub")


def test_a_public_file_follows_if_a_pinned_key_signed_it() -> None:
    pinned, revoked = LAB.public(), LATER.revoked(signer(LATER, 0))
    assert successor_problem(pinned, LATER.public()) is None
    assert successor_problem(LATER.public(), revoked.public()) is None
    # nobody vouches for it any more who was known before the rotation
    assert successor_problem(pinned, revoked.public()) == "no pinned key signed it"


@pytest.mark.parametrize(
    ("fresh", "problem"),
    [
        (Ring.new("clinic").public(), "it has the keys of clinic, not of lab"),
        (Ring.new("lab").public(), "no pinned key signed it"),
        (LAB.public(), "it lacks the key"),
    ],
)
def test_a_public_file_that_does_not_follow_is_refused(fresh: PublicRing, problem: str) -> None:
    assert problem in str(successor_problem(LATER.public(), fresh))


def stolen(ring: Ring, place: int) -> PublicRing:
    """What the thief of a sign key makes: the others are revoked, and the thief's own follow."""
    thief = Ring.new("lab").rotated(timedelta(days=30))
    kept = signer(ring, place)
    revoked = (
        e if e.id == kept else e.model_copy(update={"revoked_at": now()}) for e in ring.entries
    )
    both = ring.model_copy(update={"entries": (*revoked, *thief.entries)})
    return both.public()


@pytest.mark.parametrize("overlap", [0, 30])
@pytest.mark.parametrize("days", [1, 60])
def test_a_key_that_was_stolen_vouches_for_nothing_once_a_newer_one_is_pinned(
    monkeypatch: pytest.MonkeyPatch, overlap: int, days: int
) -> None:
    ring = LAB.rotated(timedelta(days=overlap))
    attack = stolen(ring, 0)
    at(monkeypatch, timedelta(days=days))
    assert "did not sign it; an older one did" in str(successor_problem(ring.public(), attack))
    # without the revocations, the thief's keys would still be the newest
    added = ring.model_copy(update={"entries": (*ring.entries, *Ring.new("lab").entries)})
    bare = added.public()
    alone = tuple(each for each in bare.endorsements if each.by == signer(ring, 0))
    assert successor_problem(ring.public(), bare.model_copy(update={"endorsements": alone}))
    assert successor_problem(ring.public(), ring.rotated(timedelta(days=1)).public()) is None


def test_a_key_that_has_ended_vouches_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    end = {"not_after": now() + timedelta(days=1)}
    ended = LAB.model_copy(
        update={"entries": tuple(entry.model_copy(update=end) for entry in LAB.entries)}
    )
    at(monkeypatch, timedelta(days=2))
    problem = successor_problem(ended.public(), ended.rotated(timedelta(days=30)).public())
    assert "cannot vouch for another key" in str(problem)
    assert successor_problem(ended.public(), ended.public()) is None, "it is what is pinned"


def test_a_peer_that_rotated_long_ago_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, timedelta(days=400))
    twice = LATER.rotated(timedelta(days=30))
    assert successor_problem(LAB.public(), twice.public()) is None


def test_the_end_of_a_key_is_not_taken_back() -> None:
    longer = LATER.model_copy(
        update={"entries": (*LAB.entries, *LATER.entries[len(LAB.entries) :])}
    )
    problem = successor_problem(LATER.public(), longer.public())
    assert "extends the key" in str(problem)
    assert "ends on" in str(problem)


def test_a_revocation_is_not_taken_back() -> None:
    revoked = LATER.revoked(signer(LATER, 0))
    back = revoked.model_copy(update={"entries": LATER.entries})
    assert "reverts" in str(successor_problem(revoked.public(), back.public()))


def test_peers_are_pinned_until_they_are_removed(tmp_path: Path) -> None:
    peers = Peers(tmp_path / "peers")
    with pytest.raises(InputError, match="the keys of lab are not pinned; get the public file"):
        peers.get("lab")
    assert peers.add(public_file(LAB), "lab.pub") == LAB.public()
    assert peers.add(public_file(LATER), "lab.pub") == peers.get("lab")
    with pytest.raises(InputError, match="is not a successor of the keys pinned for lab"):
        peers.add(public_file(LAB), "lab.pub")
    peers.add(public_file(Ring.new("clinic")), "clinic.pub", "partner")
    assert {alias: ring.id for alias, ring in peers.all().items()} == {
        "lab": "lab",
        "partner": "clinic",
    }
    peers.remove("lab")
    peers.add(public_file(LAB), "lab.pub")


def test_a_pinned_file_that_is_damaged_can_be_removed(tmp_path: Path) -> None:
    peers = Peers(tmp_path)
    peers.add(public_file(LAB), "lab.pub")
    (tmp_path / "lab.json").write_bytes(b"{")
    peers.remove("lab")
    assert peers.all() == {}
    with pytest.raises(InputError, match="no peer lab is pinned"):
        peers.remove("lab")


WRONG = {
    b"not a file of ours": "it is not JSON: expected ",
    b"": "it is not JSON: EOF",
    b"[]": "(top level): must be an object",
    b'{"id": "Lab!", "entries": []}': "id: must ",
    b'{"id": "lab", "color": 1}': "entries: required, but missing; color: unknown field; remove it",
}


@pytest.mark.parametrize("content", WRONG)
def test_what_is_no_public_file_is_told_in_words(content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_public(content, "lab.pub")
    said = str(caught.value)
    assert said.startswith(f"lab.pub is not a public file: {WRONG[content]}")
    assert said.endswith("; ask its party for the output of `offsite keys export`")
    assert "validation error" not in said
    assert "pydantic" not in said


@pytest.mark.parametrize("year", [1, 999, 1999, 9000, 9999])
@pytest.mark.parametrize("field", ["not_before", "not_after", "revoked_at"])
def test_a_key_of_no_year_of_ours_is_refused_although_its_owner_signed_it(
    tmp_path: Path, field: str, year: int
) -> None:
    at = datetime(year, 6, 1, tzinfo=UTC)
    entries = tuple(each.model_copy(update={field: at}) for each in LAB.entries)
    ring = LAB.model_copy(update={"entries": entries})
    signers = ring.model_copy(update={"entries": (*entries, *LAB.entries)})
    with pytest.raises(InputError, match=r"lab\.pub is not a public file: .*; ask its party"):
        Peers(tmp_path).add(public_file(signers), "lab.pub")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["8999-12-31T23:59:59-01:00", "2000-01-01T00:00:00+01:00"])
def test_a_time_counts_as_it_is_in_utc(at: str) -> None:
    with pytest.raises(ValidationError, match="is not of the years 2000 to 8999"):
        Entry.model_validate_json(
            json.dumps({**LAB.entries[0].wire(), "notBefore": at}), strict=False
        )


def broken(**over: object) -> bytes:
    return json.dumps({**json.loads(public_file(LAB)), **over}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[" * 10_000,
        broken(id="clinic"),
        broken(endorsements=[]),
        broken(entries=[]),
        broken(entries=LATER.public().wire()["entries"]),
        broken(extra=1),
        broken(format=2),
        public_file(LAB).replace(b'"value":"', b'"value":"AAAA'),
        public_file(LAB)[:-40],
    ],
)
def test_a_changed_public_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"lab\.pub"):
        Peers(tmp_path).add(content, "lab.pub")
    assert not list(tmp_path.iterdir())


def test_keys_that_cannot_be_written_leave_the_public_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("no space is left")

    keep_ring(tmp_path, LAB, None)
    monkeypatch.setattr(home, "save_ring", full)
    with pytest.raises(DiskFullError):
        keep_ring(tmp_path, LATER, None)
    assert own_public(tmp_path, {}) == own_ring(tmp_path, {}).public() == LAB.public()
    assert {path.name for path in (tmp_path / "keys").iterdir()} == {"ring.json", "public.json"}


def test_a_public_file_that_fell_behind_is_mended(tmp_path: Path) -> None:
    keep_ring(tmp_path, LAB, None)
    behind = public_path(tmp_path).read_bytes()
    keep_ring(tmp_path, LATER, None)
    public_path(tmp_path).write_bytes(behind)
    assert own_ring(tmp_path, {}) == LATER
    assert own_public(tmp_path, {}) == LATER.public()
