"""The S3 store against a real MinIO: what it gives, and what each refusal is called."""

import multiprocessing
import os
import pickle
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from minio import time as minio_time

from offsite.errors import (
    BundleError,
    DiskFullError,
    InputError,
    NotAllowedError,
    NotFoundError,
    OffsiteError,
    UnreachableError,
)
from offsite.store import FolderStore, ObjectStore
from offsite.store.admin import ExchangeAdmin
from offsite.store.credentials import Credentials, read_credentials, write_credentials
from offsite.store.open import refuse_same_place, s3_store
from offsite.store.s3 import S3Store
from offsite_testing.minio_server import MinioServer, free_port, running_minio
from offsite_testing.relay import relayed

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

BUCKET = "exchange"
MEGABYTE = 1024 * 1024
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server with a bucket, versions and all."""
    with running_minio(tmp_path_factory.mktemp("minio"), extra={"MINIO_DOMAIN": "s3.test"}) as made:
        ExchangeAdmin(made.store(BUCKET)).prepare()
        yield made


@pytest.fixture
def store(server: MinioServer) -> S3Store:
    return server.store(BUCKET)


@pytest.fixture(scope="module")
def lab(server: MinioServer, tmp_path_factory: pytest.TempPathFactory) -> S3Store:
    """The store as a party sees it that was granted the inbox of one peer."""
    folder = tmp_path_factory.mktemp("accounts")
    ExchangeAdmin(server.store(BUCKET)).grant("lab", "hospital", folder)
    keys = read_credentials(folder / "lab.json")
    return replace(server.store(BUCKET), access_key=keys.access_key, secret_key=keys.secret_key)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 5 * MEGABYTE, 12 * MEGABYTE + 1])
def test_what_was_put_is_got_in_one_piece(server: MinioServer, store: S3Store, size: int) -> None:
    content = noise(size)
    store.put("round/trip/a", content)
    assert store.get("round/trip/a", size) == content
    tag = server.root().stat_object(BUCKET, "round/trip/a").etag
    assert tag is not None
    assert "-" not in tag, "it was sent in parts"


def test_a_second_put_takes_the_place_of_the_first(store: S3Store) -> None:
    store.put("twice/x", b"one")
    store.put("twice/x", b"two")
    assert store.get("twice/x", 9) == b"two"


def test_more_than_a_page_is_listed_and_deleted(store: S3Store) -> None:
    keys = [f"many/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: store.put(key, b"12"), keys))
    store.put("many2/x", b"1")
    assert store.sizes("many/") == dict.fromkeys(keys, 2)
    store.delete(keys)
    store.delete(["many/0000", "many/never-there"])
    assert store.sizes("many/") == {}
    assert store.sizes("many2/") == {"many2/x": 1}


def test_what_is_larger_than_expected_is_refused(store: S3Store) -> None:
    store.put("large/x", noise(3 * MEGABYTE))
    with pytest.raises(BundleError, match="larger than 1000 bytes"):
        store.get("large/x", 1000)
    assert len(store.get("large/x", 3 * MEGABYTE)) == 3 * MEGABYTE


def test_not_there_and_not_allowed_are_told_apart(lab: S3Store, store: S3Store) -> None:
    store.put("hospital/clinic/b/1", b"secret")
    for key in ("lab/hospital/b/none", "hospital/lab/b/none"):
        with pytest.raises(NotFoundError, match=f"there is no s3://exchange/{key}"):
            lab.get(key, 9)
    for key in ("hospital/clinic/b/1", "hospital/clinic/b/none"):
        with pytest.raises(
            NotAllowedError, match="no permission for s3://exchange/hospital/clinic"
        ):
            lab.get(key, 9)


REFUSED: dict[str, Callable[[S3Store], object]] = {
    "put": lambda store: store.put("hospital/lab/b/1", b""),
    "list": lambda store: store.sizes("hospital/"),
    "delete": lambda store: store.delete(["lab/x", "hospital/lab/b/1"]),
}


@pytest.mark.parametrize("verb", REFUSED)
def test_what_was_not_granted_is_refused(lab: S3Store, verb: str) -> None:
    with pytest.raises(NotAllowedError, match="grant"):
        REFUSED[verb](lab)


def test_wrong_credentials_are_named(store: S3Store) -> None:
    for wrong in (replace(store, secret_key="wrong-secret"), replace(store, access_key="nobody")):
        with pytest.raises(NotAllowedError, match="OFFSITE_EXCHANGE_CREDENTIALS") as told:
            wrong.sizes("any/")
        assert wrong.secret_key not in str(told.value)


@pytest.mark.parametrize("verb", ["put", "get", "list", "delete"])
def test_a_missing_bucket_is_named(store: S3Store, verb: str) -> None:
    missing = replace(store, bucket="nowhere")
    verbs: dict[str, Callable[[], object]] = {
        "put": lambda: missing.put("a/b", b""),
        "get": lambda: missing.get("a/b", 1),
        "list": lambda: missing.sizes("a/"),
        "delete": lambda: missing.delete(["a/b"]),
    }
    with pytest.raises(InputError, match="offsite exchange init s3://nowhere"):
        verbs[verb]()


@pytest.mark.parametrize(("minutes", "way"), [(40, "ahead of"), (-90, "behind")])
def test_a_clock_that_is_off_is_named(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, minutes: int, way: str
) -> None:
    # requests are signed by the SDK's clock; the machine's cannot be set for one process
    now = minio_time.utcnow
    monkeypatch.setattr(minio_time, "utcnow", lambda: now() + timedelta(minutes=minutes))
    with pytest.raises(NotAllowedError, match=f"is {abs(minutes)} minutes {way} that of http"):
        store.put("clock/x", b"")


def test_a_full_store_is_named(server: MinioServer) -> None:
    small = server.store("small-quota")
    ExchangeAdmin(small).prepare()
    server.admin().bucket_quota_set(small.bucket, MEGABYTE)
    with pytest.raises(DiskFullError, match="free some space"):
        small.put("full/x", noise(2 * MEGABYTE))


def test_something_else_at_the_endpoint_is_named(store: S3Store, tmp_path: Path) -> None:
    with running_minio(tmp_path, tls=True) as other:
        plain = replace(store, endpoint=f"http://127.0.0.1:{other.port}", stall_seconds=2)
        with pytest.raises(InputError, match="check OFFSITE_EXCHANGE_ENDPOINT"):
            plain.put("a/b", b"")
        untrusting = replace(other.store(BUCKET), ca_file=None)
        with pytest.raises(NotAllowedError, match="name its file in OFFSITE_EXCHANGE_CA"):
            untrusting.put("a/b", b"")
        ExchangeAdmin(other.store(BUCKET)).prepare()
        ExchangeAdmin(other.store(BUCKET)).grant("lab", "hospital", tmp_path)
        other.store(BUCKET).put("a/b", b"over TLS")
        assert other.store(BUCKET).get("a/b", 9) == b"over TLS"
    with pytest.raises(NotAllowedError, match="OFFSITE_EXCHANGE_CA"):
        replace(store, endpoint=store.endpoint.replace("http:", "https:")).put("a/b", b"")


def test_an_unreachable_store_is_reported_after_the_retries(store: S3Store) -> None:
    nowhere = replace(store, endpoint=f"http://127.0.0.1:{free_port()}", stall_seconds=1)
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="cannot reach"):
        nowhere.get("a/b", 1)
    assert 0.8 < time.monotonic() - began < 3


def test_a_silent_server_is_reported(server: MinioServer, store: S3Store) -> None:
    with relayed(server.port) as relay:
        there = replace(store, endpoint=f"http://127.0.0.1:{relay.port}", stall_seconds=2)
        there.put("dead/x", b"x")
        relay.dead.set()
        began = time.monotonic()
        with pytest.raises(UnreachableError, match="cannot reach"):
            there.put("dead/x", noise(4 * MEGABYTE))
        assert 1.5 < time.monotonic() - began < 5


def test_a_slow_link_is_no_stall(server: MinioServer, store: S3Store) -> None:
    # more than two seconds in spite of what the buffers on the way hold
    content = noise(12 * MEGABYTE)
    with relayed(server.port, bytes_per_second=3 * MEGABYTE) as relay:
        there = replace(store, endpoint=f"http://127.0.0.1:{relay.port}", stall_seconds=4)
        began = time.monotonic()
        there.put("slow/x", content)
        assert time.monotonic() - began > 3, "it was not slow: the test shows nothing"
    assert store.get("slow/x", len(content)) == content


def test_an_answer_that_breaks_off_is_asked_for_again(server: MinioServer, store: S3Store) -> None:
    content = noise(2 * MEGABYTE)
    store.put("broken/x", content)
    with relayed(server.port, break_after=MEGABYTE) as relay:
        there = replace(store, endpoint=f"http://127.0.0.1:{relay.port}")
        assert there.get("broken/x", len(content)) == content


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restarted_server_loses_nothing(server: MinioServer, store: S3Store, end: str) -> None:
    content, failures = dict[str, bytes](), list[OffsiteError]()
    some, back = threading.Event(), threading.Event()

    def put_until_it_is_back() -> None:
        try:
            while not back.is_set():
                key, piece = f"restart-{end}/{len(content)}", noise(MEGABYTE, len(content))
                store.put(key, piece)
                content[key] = piece
                if len(content) == 5:
                    some.set()
        except OffsiteError as error:
            failures.append(error)

    writer = threading.Thread(target=put_until_it_is_back)
    writer.start()
    try:
        assert some.wait(30)
        getattr(server, end)()
        time.sleep(0.5)  # the writer hears of the last piece
        sent = len(content)
        time.sleep(0.5)
        assert len(content) == sent, "it went on without the server: the test shows nothing"
    finally:
        server.start()
        back.set()
        writer.join(60)
    assert failures == []
    assert len(content) > sent
    assert {key: store.get(key, MEGABYTE) for key in content} == content


def test_a_pickled_store_works_in_another_process(store: S3Store) -> None:
    store.put("pickled/x", b"from here")
    there = pickle.loads(pickle.dumps(store))
    assert there == store
    assert there._clients == {}
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        assert pool.submit(there.get, "pickled/x", 99).result(60) == b"from here"


def test_the_secret_is_not_shown(store: S3Store) -> None:
    assert store.access_key in repr(store)
    assert store.secret_key not in repr(store)
    assert "hidden-word" not in repr(Credentials("known", "hidden-word"))


@pytest.fixture
def environ(store: S3Store, tmp_path: Path) -> dict[str, str]:
    write_credentials(tmp_path / "keys.json", Credentials(store.access_key, store.secret_key))
    return {
        "OFFSITE_EXCHANGE_ENDPOINT": store.endpoint,
        "OFFSITE_EXCHANGE_CREDENTIALS": str(tmp_path / "keys.json"),
    }


def test_the_environment_sets_the_endpoint(store: S3Store, environ: dict[str, str]) -> None:
    found = s3_store("s3://exchange", "OFFSITE_EXCHANGE", environ)
    assert replace(found, stall_seconds=store.stall_seconds) == store
    environ |= {"OFFSITE_EXCHANGE_REGION": "eu-north-7", "OFFSITE_EXCHANGE_STYLE": "virtual"}
    found = s3_store("s3://exchange/", "OFFSITE_EXCHANGE", environ)
    assert (found.region, found.path_style) == ("eu-north-7", False)


@pytest.mark.parametrize(
    ("uri", "change", "told"),
    [
        ("s3://exchange/folder", {}, "without a path"),
        ("s3://Ex", {}, "'s3://Ex'"),
        ("s3://exchange\n", {}, r"'s3://exchange\\n'"),
        ("s3://exchange", {"ENDPOINT": ""}, "needs OFFSITE_EXCHANGE_ENDPOINT"),
        ("s3://exchange", {"CREDENTIALS": ""}, "needs OFFSITE_EXCHANGE_CREDENTIALS"),
        (
            "s3://exchange",
            {"CREDENTIALS": "/nowhere"},
            r"no credentials file \(OFFSITE_EXCHANGE_CREDENTIALS\) at /nowhere",
        ),
        ("s3://exchange", {"ENDPOINT": "minio:9000"}, "https://host:port"),
        ("s3://exchange", {"ENDPOINT": "http://me:word@minio"}, "https://host:port"),
        ("s3://exchange", {"ENDPOINT": "http://minio/path"}, "https://host:port"),
        ("s3://exchange", {"ENDPOINT": "http://minio:99999"}, "OFFSITE_EXCHANGE_ENDPOINT"),
        ("s3://exchange", {"ENDPOINT": "http://[::1"}, "OFFSITE_EXCHANGE_ENDPOINT"),
        ("s3://exchange", {"REGION": "no region"}, "OFFSITE_EXCHANGE_REGION"),
        ("s3://exchange", {"STYLE": "fancy"}, "use path or virtual"),
        ("s3://exchange", {"CA": "/nowhere"}, "OFFSITE_EXCHANGE_CA names /nowhere"),
        ("s3://exchange", {"CA": __file__}, "no PEM certificates"),
    ],
)
def test_wrong_settings_are_named(
    environ: dict[str, str], uri: str, change: dict[str, str], told: str
) -> None:
    wrong = {f"OFFSITE_EXCHANGE_{name}": value for name, value in change.items()}
    with pytest.raises(InputError, match=told) as error:
        s3_store(uri, "OFFSITE_EXCHANGE", environ | wrong)
    assert "me:word" not in str(error.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_credentials_that_others_may_read_are_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.json"
    write_credentials(path, Credentials("known", "hidden"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_credentials(path) == Credentials("known", "hidden")
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        read_credentials(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
@pytest.mark.parametrize(("mode", "fine"), [(0o440, True), (0o400, True), (0o444, False)])
def test_a_mounted_secret_may_be_its_groups(tmp_path: Path, mode: int, fine: bool) -> None:
    path, mounted = tmp_path / "data", tmp_path / "keys.json"
    write_credentials(path, Credentials("known", "hidden"))
    os.chown(path, 65534, 65534)
    path.chmod(mode)
    mounted.symlink_to(path)
    if fine:
        assert read_credentials(mounted) == Credentials("known", "hidden")
    else:
        with pytest.raises(InputError, match="chmod 600"):
            read_credentials(mounted)


@pytest.mark.parametrize("content", ["", "[]", '{"accessKey": "hidden"}', '{"hidden": ', "\xff"])
def test_other_files_are_no_credentials(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match="not a credentials file") as told:
        read_credentials(path)
    assert "hidden" not in str(told.value)


def at(endpoint: str, bucket: str = "one") -> S3Store:
    return S3Store(endpoint, bucket, "somebody", "secret")


@pytest.mark.parametrize(
    ("exchange", "private", "same"),
    [
        (at("https://s3.test"), at("https://S3.test:443"), True),
        (at("https://s3.test"), at("https://s3.test", "two"), False),
        (at("https://s3.test"), at("https://s4.test"), False),
        (at("https://s3.test"), at("https://s3.test:9000"), False),
        (FolderStore(Path("/a/b")), FolderStore(Path("/a/b")), True),
        (FolderStore(Path("/a/b")), FolderStore(Path("/a/b/../b/c")), True),
        (FolderStore(Path("/a/b/c")), FolderStore(Path("/a/b")), True),
        (FolderStore(Path("/a/b")), FolderStore(Path("/a/bc")), False),
        (FolderStore(Path("/a/b")), at("https://s3.test"), False),
    ],
)
def test_two_stores_at_one_place_are_refused(
    exchange: ObjectStore, private: ObjectStore, same: bool
) -> None:
    if same:
        with pytest.raises(InputError, match="the same place"):
            refuse_same_place(exchange, private)
    else:
        refuse_same_place(exchange, private)
