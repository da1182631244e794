"""A try of both stores finds what they cannot do, and leaves nothing behind."""

from pathlib import Path

import pytest

from offsite.steps.checking import check_stores
from offsite.store.admin import ExchangeAdmin
from offsite.store.credentials import Credentials, write_credentials
from offsite_testing.minio_server import running_minio


def test_two_stores_that_work(tmp_path: Path) -> None:
    exchange, private = tmp_path / "exchange", tmp_path / "private"
    found = list(check_stores("lab", exchange.as_uri(), private.as_uri(), {}))
    assert [(each.store, each.verdict) for each in found] == [
        ("exchange", "ok"),
        ("private", "ok"),
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.timeout(900)  # the first run builds the server
def test_the_account_of_a_party_is_enough(tmp_path: Path) -> None:
    with running_minio(tmp_path / "server") as server:
        admin = ExchangeAdmin(server.store("exchange"))
        admin.prepare()
        admin.grant("lab", "hospital", tmp_path / "accounts")
        ExchangeAdmin(server.store("models")).prepare()
        write_credentials(tmp_path / "own.json", Credentials(server.user, server.password))
        environ = {
            "OFFSITE_EXCHANGE_ENDPOINT": server.endpoint,
            "OFFSITE_EXCHANGE_CREDENTIALS": str(tmp_path / "accounts/lab.json"),
            "OFFSITE_PRIVATE_ENDPOINT": server.endpoint,
            "OFFSITE_PRIVATE_CREDENTIALS": str(tmp_path / "own.json"),
        }
        found = list(check_stores("lab", "s3://exchange", "s3://models/lab", environ))
        assert [each.verdict for each in found] == ["ok", "ok"], found
        assert not server.store("exchange").sizes("lab/")
        # whose folder it is not
        (other, _) = check_stores("clinic", "s3://exchange", "s3://models/lab", environ)
        assert other.verdict == "fail"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [("http://nowhere.invalid:9000", "nowhere.invalid"), ("http://127.0.0.1:9", "127.0.0.1:9")],
)
def test_a_store_that_is_away_is_named(endpoint: str, words: str, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials.json"
    credentials.write_text('{"accessKey": "lab", "secretKey": "a-secret"}', encoding="utf-8")
    credentials.chmod(0o600)
    environ = {
        "OFFSITE_PRIVATE_ENDPOINT": endpoint,
        "OFFSITE_PRIVATE_CREDENTIALS": str(credentials),
    }
    found = check_stores("lab", tmp_path.as_uri(), "s3://models/lab", environ, stall_seconds=0.1)
    exchange, private = found
    assert exchange.verdict == "ok"
    assert private.verdict == "fail"
    assert words in private.message
