"""A try of both stores finds what they cannot do, and leaves nothing behind."""

from pathlib import Path

import pytest

from offsite.steps.checking import check_stores


def test_two_stores_that_work(tmp_path: Path) -> None:
    exchange, private = tmp_path / "exchange", tmp_path / "private"
    found = list(check_stores("lab", exchange.as_uri(), private.as_uri(), {}))
    assert [(each["store"], each["verdict"]) for each in found] == [
        ("exchange", "ok"),
        ("private", "ok"),
    ]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


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
    assert exchange["verdict"] == "ok"
    assert private["verdict"] == "fail"
    assert words in private["message"]
