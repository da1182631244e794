"""Who may do what in an exchange on a real MinIO, and its administration from the command line."""

import base64
import hashlib
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin
from typer.testing import CliRunner, Result

from offsite.errors import InputError, NotAllowedError
from offsite.store.admin import ExchangeAdmin
from offsite.store.admin_api import NoAdminError
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.policies import policy_of
from offsite.store.principals import Principal
from offsite.store.s3 import S3Store
from offsite_cli.exchange import app
from offsite_testing.minio_server import MinioServer, running_minio
from offsite_testing.raw_s3 import Answer, ask, ask_server, assume_role, escaped, in_session

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

BUCKET = "exchange"
PARTIES = ("lab", "hospital", "clinic")
READERS = tuple(f"{party}.reader" for party in PARTIES)
GRANTS = (("lab", "hospital"), ("hospital", "lab"))
"""Who reads from whom."""

KEYS: dict[str, dict[str, str]] = {
    "lab/hospital/b/1": {"lab": "write", "hospital": "read"},
    "hospital/lab/b/1": {"hospital": "write", "lab": "read"},
    # another pair's inbox, and those that nobody was granted
    "lab/clinic/b/1": {"lab": "write"},
    "hospital/clinic/b/1": {"hospital": "write"},
    "clinic/lab/b/1": {"clinic": "write"},
    "clinic/hospital/b/1": {"clinic": "write"},
    # what a party's operator reads, too
    "lab/hospital/b/2/envelope-x": {
        "lab": "write",
        "hospital": "read",
        "lab.reader": "read",
        "hospital.reader": "read",
    },
    "hospital/lab/b/2/envelope-x": {
        "hospital": "write",
        "lab": "read",
        "lab.reader": "read",
        "hospital.reader": "read",
    },
    "hospital/clinic/b/notice": {"hospital": "write", "hospital.reader": "read"},
    "hospital/lab/b/2/notice-x": {"hospital": "write", "lab": "read"},
    "hospital/clinic/b/2/envelope-x": {"hospital": "write", "hospital.reader": "read"},
    "clinic/lab/b/2/envelope-x": {"clinic": "write", "clinic.reader": "read"},
    "lab/clinic/b/2/envelope-x": {"lab": "write", "lab.reader": "read"},
    "hospital/lab/b/notice": {
        "hospital": "write",
        "lab": "read",
        "lab.reader": "read",
        "hospital.reader": "read",
    },
    "clinic/lab/b/notice": {"clinic": "write", "clinic.reader": "read"},
    # and what is named alike
    "hospital/lab/notice": {"hospital": "write", "lab": "read"},
    "lab/hospital/envelope-b/2/x": {"lab": "write", "hospital": "read"},
    "hospital/lab/envelope-x": {"hospital": "write", "lab": "read"},
    "envelope-x": {},
    # bundles that are named like parties
    "hospital/clinic/lab/1": {"hospital": "write"},
    "clinic/lab/hospital/1": {"clinic": "write"},
    "clinic/hospital/lab/1": {"clinic": "write"},
    "lab/lab/lab/1": {"lab": "write"},
    # parties whose names begin or end alike
    "lab2/hospital/b/1": {},
    "la/hospital/b/1": {},
    "my-lab/hospital/b/1": {},
    "hospital/lab2/b/1": {"hospital": "write"},
    "hospital/la/b/1": {"hospital": "write"},
    "hospital/labs": {"hospital": "write"},
    # no party's folder
    "x": {},
    "stranger/lab/b/1": {},
    "LAB/hospital/b/1": {},
    "lab./hospital/b/1": {},
}
"""What lies in the exchange, and who may write or only read it. All others may do nothing."""

PREFIXES: dict[str, tuple[str, ...]] = {
    "": (),
    "l": (),
    "lab": (),
    "lab2/": (),
    "la/": (),
    "*": (),
    "?ab/": (),
    "*/lab/": (),
    "/": (),
    "/lab/": (),
    "stranger/lab/": (),
    "lab/": ("lab",),
    "lab/*": ("lab",),
    "lab/hosp": ("lab",),
    "lab/hospital": ("lab",),
    "lab/hospital/": ("lab", "hospital"),
    "lab/hospital/b/1": ("lab", "hospital"),
    "lab/clinic/": ("lab",),
    "hospital/": ("hospital",),
    "hospital/la": ("hospital",),
    "hospital/lab": ("hospital",),
    "hospital/lab/": ("hospital", "lab"),
    "hospital/lab2/": ("hospital",),
    "hospital/clinic/lab/": ("hospital",),
    "clinic/": ("clinic",),
    "clinic/lab/": ("clinic",),
    "clinic/lab/hospital/": ("clinic",),
}
"""Who may list what begins so."""

LISTINGS = (
    "list-type=2&prefix={}",
    "prefix={}",
    "versions=&prefix={}",
    "list-type=2&delimiter=%2F&prefix={}",
    "list-type=2&metadata=true&prefix={}",
)

_UNPACK = "x-amz-meta-snowball-auto-extract"
_UNPACK_TO = "x-amz-meta-minio-snowball-prefix"

FORBIDDEN: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    # the bucket itself
    ("GET", "", "", {}),
    ("GET", "", "list-type=2", {}),
    ("GET", "", "list-type=2&delimiter=%2F", {}),
    ("GET", "", "versions=", {}),
    ("GET", "", "location=", {}),
    ("GET", "", "policy=", {}),
    ("PUT", "", "policy=", {}),
    ("DELETE", "", "policy=", {}),
    ("GET", "", "lifecycle=", {}),
    ("PUT", "", "lifecycle=", {}),
    ("DELETE", "", "lifecycle=", {}),
    ("GET", "", "versioning=", {}),
    ("PUT", "", "versioning=", {}),
    ("GET", "", "notification=", {}),
    ("GET", "", "events=s3%3AObjectCreated%3A%2A", {}),
    ("GET", "", "uploads=", {}),
    ("GET", "", "uploads=&prefix={other}%2F", {}),
    ("DELETE", "", "", {}),
    ("DELETE", "", "", {"x-minio-force-delete": "true"}),
    # two prefixes, of which a store may check one and list the other
    ("GET", "", "list-type=2&prefix={other}%2F&prefix={self}%2F", {}),
    ("GET", "", "list-type=2&prefix={self}%2F&prefix={other}%2F", {}),
    ("GET", "", "versions=&prefix={other}%2F&prefix={self}%2F", {}),
    ("GET", "", "prefix={self}%2F..%2F{other}%2F", {}),
    # out of the own folder
    ("PUT", "/{self}/../{other}/x", "", {}),
    ("PUT", "/{self}/%2e%2e/{other}/x", "", {}),
    ("PUT", "/{self}%2F..%2F{other}%2Fx", "", {}),
    ("PUT", "/./{other}/x", "", {}),
    ("PUT", "//{other}/x", "", {}),
    ("PUT", "/%2F{other}/x", "", {}),
    ("PUT", "/{self}/..%5C{other}/x", "", {}),
    ("PUT", "/{self}", "", {}),
    ("PUT", "/{self}%00/x", "", {}),
    # by way of the store: copies, archives that it unpacks, deletions of all at once
    ("PUT", "/{self}/x", "", {"x-amz-copy-source": "/exchange/{other}/{third}/b/1"}),
    ("PUT", "/{self}/x", "", {"x-amz-copy-source": "/exchange/{self}/../{other}/{third}/b/1"}),
    ("PUT", "/{self}/x.tar", "", {_UNPACK: "true", _UNPACK_TO: "{other}"}),
    ("DELETE", "/{other}/", "", {"x-minio-force-delete": "true"}),
    ("DELETE", "/{other}", "", {"x-minio-force-delete": "true"}),
)
"""What no party may do: method, path, query and headers."""


@dataclass(frozen=True)
class Exchange:
    """An exchange, as its administrator and as its parties."""

    server: MinioServer
    folder: Path

    @property
    def root(self) -> S3Store:
        """The bucket, as the administrator."""
        return self.server.store(BUCKET)

    @property
    def admin(self) -> ExchangeAdmin:
        """The administrator."""
        return ExchangeAdmin(self.root)

    def party(self, name: str) -> S3Store:
        """The bucket, as a party."""
        keys = read_credentials(self.folder / f"{name}.json")
        return replace(self.root, access_key=keys.access_key, secret_key=keys.secret_key)

    def everything(self) -> set[tuple[str | None, str | None]]:
        """All versions of all objects."""
        listed = self.root.client().list_objects(BUCKET, recursive=True, include_version=True)
        return {(each.object_name, each.version_id) for each in listed}


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Three parties, of which two were granted to read from each other."""
    folder = tmp_path_factory.mktemp("exchange")
    with running_minio(folder / "minio") as server:
        made = Exchange(server, folder)
        made.admin.prepare()
        (party, peer), later = GRANTS
        made.admin.grant(party, peer, folder)
        # of one reader the grant is older, of the other it is newer
        made.admin.add_reader(party, folder)
        made.admin.add_reader(peer, folder)
        made.admin.grant(*later)
        made.admin.grant("clinic", "lab", folder)
        made.admin.add_reader("clinic", folder)
        made.admin.revoke("clinic", "lab")
        yield made


def test_who_may_do_what(exchange: Exchange) -> None:
    for key in KEYS:
        exchange.root.put(key, b"as it was")
    parties = {name: exchange.party(name) for name in (*PARTIES, *READERS)}
    before = exchange.everything()
    assert {name for name, _ in before} >= KEYS.keys()
    wrong = [each for name in parties for each in _refused_wrongly(name, parties[name], exchange)]
    assert not wrong, "\n".join(wrong)
    assert exchange.everything() == before, "something refused was done all the same"
    wrong = [each for name in PARTIES for each in _allowed_wrongly(name, parties[name])]
    assert not wrong, "\n".join(wrong)


def _refused_wrongly(name: str, party: S3Store, exchange: Exchange) -> Iterator[str]:
    """Try everything that a party may not do, and what changes nothing; yield the surprises."""
    for key, rights in KEYS.items():
        right = rights.get(name, "none")
        for verb, answer in _reads(party, key).items():
            if answer.done != (right != "none"):
                yield f"{name} {verb} {key}: {answer}"
        for verb, answer in _changes(party, key, exchange, all_of_them=right != "write").items():
            if answer.done:
                yield f"{name} {verb} {key}: {answer}"
    yield from _listings(name, party)
    yield from _forbidden(name, party)


def _listings(name: str, party: S3Store) -> Iterator[str]:
    for prefix, may in PREFIXES.items():
        for query in LISTINGS:
            answer = ask(party, "GET", "", query.format(escaped(prefix)))
            if answer.done != (name.removesuffix(".reader") in may):
                yield f"{name} lists {query} {prefix!r}: {answer}"


def _reads(party: S3Store, key: str) -> dict[str, Answer]:
    return {"gets": ask(party, "GET", f"/{key}"), "asks for": ask(party, "HEAD", f"/{key}")}


def _changes(
    party: S3Store, key: str, exchange: Exchange, *, all_of_them: bool
) -> dict[str, Answer]:
    """Delete a version, which nobody may, and do all that changes something if nothing is right."""
    version = exchange.root.client().stat_object(BUCKET, key).version_id
    body = _deletion(key, version)
    tried = {
        "deletes a version of": ask(party, "DELETE", f"/{key}", f"versionId={version}"),
        "deletes the null version of": ask(party, "DELETE", f"/{key}", "versionId=null"),
    }
    several = ask(party, "POST", "", "delete=", body=body, headers=_digest(body))
    tried["deletes with others a version of"] = _of_several(several)
    if all_of_them:
        body = _deletion(key)
        several = ask(party, "POST", "", "delete=", body=body, headers=_digest(body))
        tried["puts"] = ask(party, "PUT", f"/{key}", body=b"mine now")
        tried["begins to put"] = ask(party, "POST", f"/{key}", "uploads=")
        tried["deletes"] = ask(party, "DELETE", f"/{key}")
        tried["deletes with others"] = _of_several(several)
    return tried


def _forbidden(name: str, party: S3Store) -> Iterator[str]:
    own = name.removesuffix(".reader")
    other, third = [each for each in PARTIES if each != own]
    words = {"self": own, "other": other, "third": third}
    for method, path, query, headers in FORBIDDEN:
        filled = {key: value.format(**words) for key, value in headers.items()} | _digest(b"")
        answer = ask(
            party, method, path.format(**words), query.format(**words), body=b"", headers=filled
        )
        if answer.done:
            yield f"{name} {method} {path} {query} {headers}: {answer}"
    here, own_folder = {_UNPACK: "true"}, {_UNPACK: "true", _UNPACK_TO: own}
    for place, headers in (
        (f"{other}/x", here),
        (f"../{other}/x", here),
        (f"../{other}/x", own_folder),
    ):
        answer = ask(party, "PUT", f"/{own}/x.tar", body=_archive(place), headers=headers)
        if answer.done:
            yield f"{name} unpacks {place} {headers}: {answer}"
    for path in ("/", "/minio/admin/v3/list-users", "/minio/admin/v3/list-canned-policies"):
        answer = ask_server(party, "GET", path)
        if answer.done:
            yield f"{name} GET {path}: {answer}"


def _allowed_wrongly(name: str, party: S3Store) -> Iterator[str]:
    """Do all that a party may; yield what it could not."""
    for key in [key for key, rights in KEYS.items() if rights.get(name) == "write"]:
        for answer in (
            ask(party, "PUT", f"/{key}", body=b"anew"),
            ask(party, "DELETE", f"/{key}"),
            ask(party, "PUT", f"/{key}", body=b"once more"),
        ):
            if not answer.done:
                yield f"{name} may not {key}: {answer}"


def _deletion(key: str, version: str | None = None) -> bytes:
    which = f"<VersionId>{version}</VersionId>" if version else ""
    return f"<Delete><Object><Key>{key}</Key>{which}</Object></Delete>".encode()


def _archive(place: str) -> bytes:
    made, entry = io.BytesIO(), tarfile.TarInfo(place)
    entry.size = 1
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(b"x"))
    return made.getvalue()


def _digest(body: bytes) -> dict[str, str]:
    return {"Content-MD5": base64.b64encode(hashlib.md5(body).digest()).decode()}


def _of_several(answer: Answer) -> Answer:
    """Read the answer for the one object from one for several."""
    return replace(answer, status=answer.status if "<Deleted>" in answer.body else 403)


def test_names_that_a_forged_header_lists_cannot_be_read(exchange: Exchange) -> None:
    # MinIO takes a condition's value from a header of that name before the query; see `policies`.
    # A store without that flaw refuses the listing: both are right here.
    exchange.root.put("clinic/lab/b/forged", b"x")
    lab = exchange.party("lab")
    listed = ask(lab, "GET", "", "list-type=2&prefix=clinic%2F", headers={"Prefix": "lab/"})
    assert not listed.done or "clinic/lab/b/forged" in listed.body
    assert not ask(lab, "GET", "/clinic/lab/b/forged", headers={"Prefix": "lab/"}).done


@pytest.mark.parametrize("account", ["lab", "lab.reader"])
def test_a_party_makes_no_account_that_outlives_its_key_and_changes_none(
    exchange: Exchange, account: str
) -> None:
    lab = exchange.party(account)
    keys = StaticProvider(lab.access_key, lab.secret_key)
    admin = MinioAdmin(endpoint=urlsplit(lab.endpoint).netloc, credentials=keys, secure=False)
    with pytest.raises(MinioAdminException, match="AccessDenied"):
        admin.add_service_account(name="later")
    with pytest.raises(MinioAdminException, match="AccessDenied"):
        admin.user_add(lab.access_key, "a-secret-of-the-thief")
    lab.sizes("lab/")


def test_everything_can_be_done_again(exchange: Exchange) -> None:
    before = exchange.admin.accounts(), exchange.admin.bucket()
    secrets = {name: exchange.party(name).secret_key for name in PARTIES}
    exchange.admin.prepare()
    for party, peer in GRANTS:
        assert exchange.admin.grant(party, peer) == [], "an account was made anew"
        assert exchange.admin.add_reader(party) is None, "an account was made anew"
    assert (exchange.admin.accounts(), exchange.admin.bucket()) == before
    assert {name: exchange.party(name).secret_key for name in PARTIES} == secrets
    exchange.party("lab").put("lab/hospital/again/1", b"x")
    facts = exchange.admin.bucket()
    assert facts.versioned
    assert facts.expiring
    assert not facts.public


def test_other_rules_of_the_bucket_stay(exchange: Exchange) -> None:
    bucket, client = exchange.server.store("ruled"), exchange.server.root()
    ExchangeAdmin(bucket).prepare()
    rules = client.get_bucket_lifecycle("ruled")
    assert rules is not None
    client.set_bucket_lifecycle(
        "ruled", replace(rules, rules=[replace(rules.rules[0], rule_id="another")])
    )
    assert not ExchangeAdmin(bucket).bucket().expiring
    ExchangeAdmin(bucket).prepare()
    ExchangeAdmin(bucket).prepare()
    rules = client.get_bucket_lifecycle("ruled")
    assert rules is not None
    assert [rule.rule_id for rule in rules.rules] == ["another", "offsite-old-versions"]
    assert rules.rules[1].noncurrent_version_expiration is not None
    assert rules.rules[1].noncurrent_version_expiration.noncurrent_days == 7


def test_a_revoked_grant_ends_at_once_and_no_other(exchange: Exchange) -> None:
    exchange.root.put("lab/clinic/revoked/1", b"x")
    exchange.admin.grant("clinic", "lab")
    exchange.admin.grant("clinic", "hospital")
    clinic = exchange.party("clinic")
    assert clinic.get("lab/clinic/revoked/1", 9) == b"x"
    assert exchange.admin.revoke("clinic", "lab")
    assert not exchange.admin.revoke("clinic", "lab")
    with pytest.raises(NotAllowedError):
        clinic.get("lab/clinic/revoked/1", 9)
    with pytest.raises(NotAllowedError):
        clinic.sizes("lab/clinic/")
    assert clinic.sizes("hospital/clinic/") is not None
    assert exchange.admin.revoke("clinic", "hospital")
    clinic.put("clinic/lab/revoked/1", b"its own folder stays")


def test_grants_of_several_administrators_at_once_are_all_kept(
    exchange: Exchange, tmp_path: Path
) -> None:
    store = exchange.server.store("at-once")
    admin = ExchangeAdmin(store)
    admin.prepare()
    first, later = [f"first-{n}" for n in range(4)], [f"later-{n}" for n in range(4)]
    for peer in (*first, *later):
        admin.grant(peer, "hub", tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda peer: ExchangeAdmin(store).grant("hub", peer), first))
    assert _reads_from(admin, "hub") == tuple(first)
    with ThreadPoolExecutor(8) as pool:
        ended = pool.map(lambda peer: ExchangeAdmin(store).revoke("hub", peer), first)
        list(pool.map(lambda peer: ExchangeAdmin(store).grant("hub", peer), later))
        assert all(ended)
    assert _reads_from(admin, "hub") == tuple(later)


def _reads_from(admin: ExchangeAdmin, party: str) -> tuple[str, ...]:
    own = Principal(admin.store.bucket, party)
    (found,) = [account for account in admin.accounts() if account.principal == own]
    return found.reads_from


def test_what_was_changed_by_hand_is_shown(exchange: Exchange, tmp_path: Path) -> None:
    admin = ExchangeAdmin(exchange.server.store("by-hand"))
    admin.prepare()
    admin.grant("one", "two", tmp_path)
    admin.grant("two", "one", tmp_path)
    server, name = exchange.server.admin(), Principal("by-hand", "one").name
    wide = policy_of("by-hand", "one", ["two"])
    wide["Statement"][0]["Resource"] = ["arn:aws:s3:::by-hand/*"]
    server.policy_add(name, policy=wide)
    server.attach_policy(["readonly"], user=name)
    server.policy_add(Principal("by-hand", "two").grant_name("one"), policy=wide)
    one, two = admin.accounts()
    assert (one.reads_from, one.status, one.changed) == (("two",), "enabled", True)
    assert one.other_policies == ("readonly",)
    assert (two.reads_from, two.changed, two.other_policies) == (("one",), True, ())
    admin.grant("one", "two")
    admin.grant("two", "one")
    assert [each.changed for each in admin.accounts()] == [False, False]


def test_a_secret_is_reissued_and_the_former_one_ends(exchange: Exchange, tmp_path: Path) -> None:
    admin = ExchangeAdmin(exchange.server.store("reissued"))
    admin.prepare()
    admin.grant("one", "two", tmp_path)

    def one() -> S3Store:
        keys = read_credentials(tmp_path / "one.json")
        return replace(admin.store, access_key=keys.access_key, secret_key=keys.secret_key)

    former = one()
    former.put("one/two/b/1", b"x")
    assert admin.reissue("one", tmp_path) == tmp_path / "one.json"
    with pytest.raises(NotAllowedError, match="does not accept these credentials"):
        former.put("one/two/b/2", b"x")
    one().put("one/two/b/2", b"x")
    assert one().sizes("two/one/") == {}, "a grant went with the secret"
    # of an attempt that was broken off
    broken_off = Credentials(one().access_key, "drawn-and-not-told")
    write_credentials(tmp_path / "one.new.json", broken_off)
    admin.reissue("one", tmp_path)
    assert one().secret_key == broken_off.secret_key
    one().put("one/two/b/3", b"x")
    assert not (tmp_path / "one.new.json").exists()


@pytest.mark.parametrize("account", ["lab", "lab.reader"])
@pytest.mark.parametrize(
    "said", [None, "User", "Account", "AssumedRole", "", "User,AssumedRole", "${aws:principaltype}"]
)
def test_a_session_of_a_party_may_do_nothing(
    exchange: Exchange, account: str, said: str | None
) -> None:
    lab = exchange.party(account)
    exchange.root.put("lab/hospital/b/9/envelope-session", b"x")
    session = assume_role(lab)
    # MinIO takes a condition's value from a header of that name first
    headers = {} if said is None else {"Principaltype": said}
    for method, path, query in (
        ("GET", "/lab/hospital/b/9/envelope-session", ""),
        ("GET", "", "list-type=2&prefix=lab%2Fhospital%2F"),
        ("GET", "", "list-type=2&prefix=lab%2Fhospital%2F&principaltype=User"),
        ("PUT", "/lab/hospital/b/x", ""),
        ("DELETE", "/lab/hospital/b/9/envelope-session", ""),
    ):
        answer = in_session(lab, session, method, path, query, headers=headers)
        assert answer.status == 403, (method, path, query)
    assert ask(lab, "GET", "/lab/hospital/b/9/envelope-session").done


def test_a_session_of_before_ends_when_the_secret_is_reissued(
    exchange: Exchange, tmp_path: Path
) -> None:
    admin = ExchangeAdmin(exchange.server.store("sessions"))
    admin.prepare()
    admin.grant("one", "two", tmp_path)
    keys, account = read_credentials(tmp_path / "one.json"), Principal("sessions", "one")
    # as an earlier version wrote it
    exchange.server.admin().policy_add(account.name, policy=policy_of("sessions", "one", ()))
    one = replace(admin.store, access_key=keys.access_key, secret_key=keys.secret_key)
    session, listing = assume_role(one), "list-type=2&prefix=two%2Fone%2F"
    assert in_session(one, session, "GET", query=listing).done
    exchange.server.stop()
    exchange.server.start()  # what it knows of sessions is read from its disk then
    admin.reissue("one", tmp_path)
    assert not in_session(one, session, "GET", query=listing).done
    assert [each.changed for each in admin.accounts()] == [False, False]


def test_only_an_account_that_is_there_is_reissued(exchange: Exchange, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nobody has no account to reissue"):
        exchange.admin.reissue("nobody", tmp_path)
    write_credentials(tmp_path / "lab.json", Credentials("offsite.other.lab", "somebody else's"))
    with pytest.raises(InputError, match="has the keys of another account"):
        exchange.admin.reissue("lab", tmp_path)
    exchange.party("lab").sizes("lab/")


def test_a_removed_account_is_gone_with_its_grants(exchange: Exchange, tmp_path: Path) -> None:
    admin = ExchangeAdmin(exchange.server.store("removed"))
    admin.prepare()
    admin.grant("one", "two", tmp_path)
    admin.grant("two", "one", tmp_path)
    admin.add_reader("one", tmp_path)
    keys = read_credentials(tmp_path / "one.json")
    one = replace(admin.store, access_key=keys.access_key, secret_key=keys.secret_key)
    one.put("one/two/b/1", b"x")
    assert admin.remove("one")
    assert not admin.remove("one")
    with pytest.raises(NotAllowedError, match="does not accept these credentials"):
        one.sizes("one/")
    assert [account.principal.party for account in admin.accounts()] == ["two"]
    assert _reads_from(admin, "two") == ("one",), "what was sent stays, for whom it was sent to"
    (tmp_path / "one.json").unlink()
    admin.grant("one", "three", tmp_path)
    assert _reads_from(admin, "one") == ("three",), "an older grant came back"


def test_nothing_is_granted_in_a_bucket_that_is_not_there(
    exchange: Exchange, tmp_path: Path
) -> None:
    admin = ExchangeAdmin(exchange.server.store("mistyped"))
    with pytest.raises(
        InputError, match=r"no bucket mistyped.*offsite exchange init s3://mistyped"
    ):
        admin.grant("lab", "hospital", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert list(admin.accounts()) == []


def test_a_grant_that_was_broken_off_goes_on(exchange: Exchange, tmp_path: Path) -> None:
    admin = ExchangeAdmin(exchange.server.store("broken-off"))
    admin.prepare()
    with pytest.raises(InputError, match="choose a folder for its credentials"):
        admin.grant("one", "two")
    assert admin.accounts() == []
    write_credentials(tmp_path / "one.json", Credentials("offsite.broken-off.one", "written-first"))
    write_credentials(tmp_path / "two.json", Credentials("offsite.other.two", "somebody else's"))
    with pytest.raises(InputError, match=r"two\.json has the keys of another account"):
        admin.grant("one", "two", tmp_path)
    (tmp_path / "two.json").unlink()
    assert admin.grant("one", "two", tmp_path) == [tmp_path / "two.json"]
    assert read_credentials(tmp_path / "one.json").secret_key == "written-first"
    assert (tmp_path / "two.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("party", "peer"),
    [
        ("lab", "lab"),
        ("lab", ""),
        ("*", "lab"),
        ("lab", "h*"),
        ("lab/x", "lab"),
        ("Lab", "hospital"),
        ("lab", "hospital\n"),
        ("lab", "a.b"),
        ("${aws:username}", "lab"),
    ],
)
def test_only_parties_are_granted_anything(exchange: Exchange, party: str, peer: str) -> None:
    with pytest.raises(InputError):
        exchange.admin.grant(party, peer)


def test_no_two_parties_share_an_account() -> None:
    one = Principal("a.b", "c")
    every = [one, Principal("a", "b-c"), Principal("a", "c"), Principal("b", "c")]
    every += [replace(each, reader=True) for each in every]
    names = [each.name for each in every] + [each.grant_name("d") for each in every]
    assert len(set(names)) == len(names)
    for each in every:
        assert Principal.of(each.bucket, each.name) == each
        assert each.peers_in(names) == ("d",)
    assert Principal.of("a", one.name) is None
    assert Principal.of("a", "readwrite") is None


def test_a_reader_is_of_a_party_and_reads_from_whom_it_reads(
    exchange: Exchange, tmp_path: Path
) -> None:
    admin = ExchangeAdmin(exchange.server.store("read"))
    admin.prepare()
    with pytest.raises(InputError, match="one has no account yet; grant it a peer"):
        admin.add_reader("one", tmp_path)
    admin.grant("one", "two", tmp_path)
    with pytest.raises(InputError, match="the reader of one has no account yet; choose a folder"):
        admin.add_reader("one")
    assert admin.add_reader("one", tmp_path) == tmp_path / "one.reader.json"
    own, reader, _ = admin.accounts()
    assert (own.principal.reader, reader.principal.reader) == (False, True)
    assert (reader.reads_from, reader.changed) == (("two",), False)
    exchange.server.admin().detach_policy(
        [reader.principal.grant_name("two")], user=reader.principal.name
    )
    assert [each.changed for each in admin.accounts()] == [False, True, False]
    assert admin.add_reader("one") is None
    assert [each.changed for each in admin.accounts()] == [False, False, False]
    admin.remove("one")
    keys = read_credentials(tmp_path / "one.reader.json")
    gone = replace(admin.store, access_key=keys.access_key, secret_key=keys.secret_key)
    with pytest.raises(NotAllowedError, match="does not accept these credentials"):
        gone.sizes("one/")
    admin.grant("one", "three", tmp_path)
    assert [each.principal.party for each in admin.accounts()] == ["one", "three", "two"]


def test_a_party_is_told_of_a_missing_bucket_as_far_as_the_store_tells(
    exchange: Exchange, tmp_path: Path
) -> None:
    mistaken = replace(exchange.party("lab"), bucket="exchnage")
    for use in (lambda: mistaken.sizes("lab/"), lambda: mistaken.put("lab/hospital/b/1", b"x")):
        with pytest.raises(NotAllowedError, match="no bucket exchn"):
            use()
    # granted while it was there
    admin = ExchangeAdmin(exchange.server.store("not-made"))
    admin.prepare()
    admin.grant("one", "two", tmp_path)
    admin.store.client().remove_bucket("not-made")
    keys = read_credentials(tmp_path / "one.json")
    one = replace(admin.store, access_key=keys.access_key, secret_key=keys.secret_key)
    for use in (lambda: one.sizes("one/"), lambda: one.put("one/two/b/1", b"x")):
        with pytest.raises(InputError, match="there is no bucket not-made at"):
            use()


def test_who_is_no_administrator_is_told(exchange: Exchange) -> None:
    with pytest.raises(NotAllowedError, match="administration"):
        ExchangeAdmin(exchange.party("lab")).grant("lab", "clinic")
    with pytest.raises(NotAllowedError, match="credentials"):
        ExchangeAdmin(replace(exchange.root, secret_key="wrong-secret")).grant("lab", "clinic")


@pytest.fixture
def commands(exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line, with the administrator's environment."""
    keys = tmp_path / "admin.json"
    write_credentials(keys, Credentials(exchange.server.user, exchange.server.password))
    monkeypatch.setenv("OFFSITE_ADMIN_ENDPOINT", exchange.server.endpoint)
    monkeypatch.setenv("OFFSITE_ADMIN_CREDENTIALS", str(keys))
    return CliRunner()


def run(commands: CliRunner, *arguments: str) -> Result:
    return commands.invoke(app, arguments, catch_exceptions=False)


def test_the_command_line_sets_up_an_exchange(
    commands: CliRunner, exchange: Exchange, tmp_path: Path
) -> None:
    place, folder = "s3://by-command", str(tmp_path)
    for _ in range(2):
        assert run(commands, "init", place).stdout == "s3://by-command is ready\n"
    made = run(commands, "grant", place, "one", "--from", "two", "--credentials", folder)
    assert made.stdout.splitlines()[-1] == "one may read what two sends to it"
    keys = read_credentials(tmp_path / "one.json")
    assert keys.secret_key not in made.output
    run(commands, "grant", place, "one", "--from", "two", "--from", "lab", "--credentials", folder)
    told = run(commands, "revoke", place, "one", "--from", "lab", "--from", "nobody")
    assert told.stdout == "one may no longer read what lab, nobody sends to it\n"
    assert told.stderr == "offsite: one could not read from nobody\n"
    shown = run(commands, "show", place).stdout
    assert "s3://by-command: versioned, old versions expire, not public" in shown
    assert "one (offsite.by-command.one): reads from two; enabled" in shown
    document = json.loads(run(commands, "show", place, "--output", "json").stdout)
    found = {each["party"]: each["readsFrom"] for each in document["accounts"]}
    assert found == {"one": ["two"], "two": [], "lab": []}
    assert document["bucket"] == {"versioned": True, "expiring": True, "public": False}
    again = run(commands, "grant", place, "one", "--reissue", "--credentials", folder)
    assert again.stdout.endswith(
        "one.json contains the new credentials of one; hand it over in private\n"
    )
    assert read_credentials(tmp_path / "one.json") != keys
    assert (
        "one no longer has an account" in run(commands, "revoke", place, "one", "--remove").stdout
    )
    assert (
        run(commands, "revoke", place, "one", "--remove").stderr == "offsite: one had no account\n"
    )
    with pytest.raises(InputError, match="--credentials"):
        run(commands, "grant", place, "two", "--reissue")
    for command, option in (("grant", "--reissue"), ("revoke", "--remove")):
        with pytest.raises(InputError, match=f"--from .*{option}"):
            run(commands, command, place, "two")
    with pytest.raises(InputError, match="OFFSITE_ADMIN_ENDPOINT"):
        commands.invoke(
            app, ["show", place], env={"OFFSITE_ADMIN_ENDPOINT": ""}, catch_exceptions=False
        )


def test_the_command_line_makes_a_reader(
    commands: CliRunner, exchange: Exchange, tmp_path: Path
) -> None:
    place, folder, file = "s3://readers", str(tmp_path), tmp_path / "one.reader.json"
    run(commands, "init", place)
    run(commands, "grant", place, "one", "--from", "two", "--credentials", folder)
    made = run(commands, "grant", place, "one", "--reader", "--credentials", folder).stdout
    assert made == f"{file} contains the credentials of a new account; hand it over in private\n"
    shown = run(commands, "show", place).stdout
    assert "the reader of one (offsite-reader.readers.one): reads envelopes from two" in shown
    document = json.loads(run(commands, "show", place, "--output", "json").stdout)
    assert [(each["party"], each["reader"]) for each in document["accounts"]] == [
        ("one", False),
        ("one", True),
        ("two", False),
    ]
    keys = read_credentials(file)
    run(commands, "grant", place, "one", "--reissue", "--reader", "--credentials", folder)
    assert read_credentials(file) != keys
    for party in ("one", "two"):
        run(commands, "revoke", place, party, "--remove")
    assert json.loads(run(commands, "show", place, "--output", "json").stdout)["accounts"] == []


def test_without_an_admin_api_policies_are_printed(
    commands: CliRunner, monkeypatch: pytest.MonkeyPatch, exchange: Exchange
) -> None:
    # the standard library's own server: it knows no admin API, as other stores do not
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Plain) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{other.server_address[1]}"
        monkeypatch.setenv("OFFSITE_ADMIN_ENDPOINT", endpoint)
        told = run(commands, "grant", "s3://exchange", "lab", "--from", "hospital")
        reader = run(commands, "grant", "s3://exchange", "lab", "--from", "hospital", "--reader")
        with pytest.raises(NoAdminError, match="hospital/lab/ from the policy of lab"):
            run(commands, "revoke", "s3://exchange", "lab", "--from", "hospital")
        other.shutdown()
    assert json.loads(told.stdout) == policy_of("exchange", "lab", ["hospital"])
    assert "has no MinIO admin API" in told.stderr
    assert reader.stdout.startswith(told.stdout)
    assert json.loads(reader.stdout.removeprefix(told.stdout)) == policy_of(
        "exchange", "lab", ["hospital"], reader=True
    )


class _Plain(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:  # noqa: V105 - the server calls it
        """Be silent."""
