"""The private store of a party as its administrator sets it up, on a real MinIO."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from offsite.errors import InputError, NotAllowedError
from offsite.steps.export import BucketExport
from offsite.store.admin_api import AdminApi
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.own import policy_name, provide
from offsite.store.policies import policy_of
from offsite.store.private_store import PrivateStore
from offsite.store.s3 import S3Store
from offsite_cli.private import app
from offsite_testing.minio_server import MinioServer, running_minio
from offsite_testing.parties import ring_of
from offsite_testing.raw_s3 import assume_role, in_session

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

PLACE = "s3://models"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as made:
        made.root().make_bucket("others")
        yield made


@pytest.fixture
def file(tmp_path: Path, server: MinioServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the account's keys are to go; the environment is the administrator's."""
    write_credentials(tmp_path / "admin.json", Credentials(server.user, server.password))
    monkeypatch.setenv("OFFSITE_ADMIN_ENDPOINT", server.endpoint)
    monkeypatch.setenv("OFFSITE_ADMIN_CREDENTIALS", str(tmp_path / "admin.json"))
    return tmp_path / "own.json"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def init(file: Path, place: str, *more: str) -> Result:
    return run("init", place, "--credentials", str(file), *more)


def under(store: S3Store, file: Path) -> S3Store:
    """The same bucket, under the keys in a file."""
    keys = read_credentials(file)
    return replace(store, access_key=keys.access_key, secret_key=keys.secret_key)


def test_an_account_has_its_bucket_and_no_other(server: MinioServer, file: Path) -> None:
    said = init(file, PLACE).stdout
    assert said == (
        f"{file} contains the credentials of {read_credentials(file).access_key}; keep it private\n"
        f"{PLACE} is ready\n"
    )
    own, other = (under(server.store(bucket), file) for bucket in ("models", "others"))
    own.put("texts/a", b"one")
    assert (own.get("texts/a", 9), own.sizes("texts/")) == (b"one", {"texts/a": 3})
    own.delete(["texts/a"])
    server.store("others").put("a", b"theirs")
    for refused in (
        lambda: other.put("b", b""),
        lambda: other.get("a", 9),
        lambda: other.sizes(""),
        lambda: other.delete(["a"]),
        lambda: AdminApi(own).set_user(Credentials("friend", "of-a-thief")),
    ):
        with pytest.raises(NotAllowedError):
            refused()
    assert server.store("others").get("a", 9) == b"theirs"


def test_files_are_copied_to_the_store_and_back(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MinioServer
) -> None:
    place = "s3://kept/tiny"
    init(file, "s3://kept")
    monkeypatch.setenv("OFFSITE_PRIVATE_ENDPOINT", server.endpoint)
    monkeypatch.setenv("OFFSITE_PRIVATE_CREDENTIALS", str(file))
    large = tmp_path / "model.safetensors"
    large.write_bytes(bytes(range(256)) * (65 << 12) + b"more than a part of an upload")
    assert run("put", str(large), place).stdout == f"{place}: 1 files\n"
    assert run("list", place).stdout.split() == [str(large.stat().st_size), large.name]
    run("get", place, str(tmp_path / "back"))
    assert (tmp_path / "back" / large.name).read_bytes() == large.read_bytes()


def test_a_place_in_a_store_that_may_only_be_read_is_told(
    file: Path, tmp_path: Path, server: MinioServer
) -> None:
    init(file, "s3://exports")
    environ = {
        "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(file),
    }
    export = BucketExport(
        "s3://exports/tuned", PrivateStore(tmp_path, None, environ), ring_of("lab").public()
    )
    export.try_writing()
    assert not export.is_taken()
    assert server.store("exports").sizes("") == {}
    admin, account = AdminApi(server.store("exports")), read_credentials(file).access_key
    admin.detach(account, policy_name("exports"))
    admin.attach(account, "reads", policy_of("exports", "x", [], reader=True))
    with pytest.raises(NotAllowedError):
        export.try_writing()


def test_it_can_be_done_again(server: MinioServer, file: Path) -> None:
    init(file, "s3://again")
    server.store("again").put("kept", b"x")
    keys = file.read_bytes()
    AdminApi(server.store("again")).remove_user(read_credentials(file).access_key)
    assert init(file, "s3://again").stdout == "s3://again is ready\n"
    assert file.read_bytes() == keys
    session = assume_role(under(server.store("again"), file))
    assert init(file, "s3://again").stdout == "s3://again is ready\n"
    assert in_session(server.store("again"), session, "GET", "/kept").done, "a job may run in it"
    assert under(server.store("again"), file).get("kept", 9) == b"x"


@pytest.mark.parametrize("restarted", [False, True])
def test_keys_that_are_reissued_end_with_their_sessions(
    server: MinioServer, file: Path, restarted: bool
) -> None:
    bucket = f"stolen-{restarted}".lower()
    store = server.store(bucket)
    provide(store, file)
    stolen = under(store, file)
    stolen.put("a", b"still")
    session = assume_role(stolen)
    assert in_session(stolen, session, "GET", "/a").done
    if restarted:  # what the server knows of sessions is read from its disk then
        server.stop()
        server.start()
    assert provide(store, file, reissue=True) == read_credentials(file).access_key
    with pytest.raises(NotAllowedError):
        stolen.put("a", b"no more")
    assert not in_session(stolen, session, "GET", "/a").done
    assert under(store, file).get("a", 9) == b"still"
    write_credentials(file, Credentials(stolen.access_key, stolen.secret_key))
    with pytest.raises(InputError, match="already has an account"):
        provide(store, file)
    assert not in_session(stolen, session, "GET", "/a").done, "it came back with its account"


def test_a_reissue_that_was_broken_off_goes_on(server: MinioServer, file: Path) -> None:
    store = server.store("broken-off")
    provide(store, file)
    former, again = under(store, file), file.with_name("own.new.json")
    write_credentials(again, Credentials("offsite-private.broken-off_1", "drawn-and-not-told"))
    provide(store, file, reissue=True)
    assert read_credentials(file).secret_key == "drawn-and-not-told"
    assert not again.exists()
    under(store, file).put("a", b"x")
    # cut off after the file was replaced: the former account is still there
    AdminApi(store).set_user(Credentials(former.access_key, former.secret_key))
    assert provide(store, file) is None
    with pytest.raises(NotAllowedError):
        former.put("a", b"x")


def test_an_account_whose_keys_are_lost_gets_others_when_asked(
    server: MinioServer, file: Path
) -> None:
    init(file, "s3://lost")
    stolen = under(server.store("lost"), file)
    file.unlink()
    with pytest.raises(InputError, match=r"s3://lost.* already has an account, .*: --reissue"):
        init(file, "s3://lost")
    assert not file.exists()
    stolen.put("a", b"still")
    session = assume_role(stolen)
    assert in_session(stolen, session, "GET", "/a").done
    init(file, "s3://lost", "--reissue")
    with pytest.raises(NotAllowedError):
        stolen.put("a", b"no more")
    assert not in_session(stolen, session, "GET", "/a").done
    assert under(server.store("lost"), file).get("a", 9) == b"still"


def test_keys_of_another_account_stay(server: MinioServer, file: Path) -> None:
    write_credentials(file, Credentials("offsite-private.another", "secret-of-that"))
    with pytest.raises(InputError, match="keys of another account"):
        init(file, "s3://mine")
    assert read_credentials(file).access_key == "offsite-private.another"
