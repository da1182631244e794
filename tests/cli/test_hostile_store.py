"""Commands against an S3 store whose names, codes and messages change what a terminal shows."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from typer.testing import CliRunner

from offsite.errors import OffsiteError
from offsite_cli.app import app
from offsite_testing.foreign import HOSTILE, assert_harmless
from offsite_testing.hostile_store import HostileStore, hostile_store

IN_XML = "".join(each for each in HOSTILE if each >= " " or each in "\n\r\t")
"""XML has no place for the others; in names they stand percent-encoded."""
ERROR = (
    f"<Error><Code>{escape(IN_XML)}</Code><Message>{escape(IN_XML)}</Message>"
    f"<Resource>{escape(IN_XML)}</Resource></Error>"
)
LISTING = (
    "<ListBucketResult><Name>private</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents>"
    f"<Key>{quote(f'data/{HOSTILE}')}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    '<ETag>"0"</ETag><Size>1</Size></Contents></ListBucketResult>'
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileStore]:
    credentials = tmp_path / "credentials.json"
    credentials.write_text(json.dumps({"accessKey": "a" * 8, "secretKey": "b" * 16}))
    credentials.chmod(0o600)
    with hostile_store() as server:
        server.body = ERROR.encode()
        for name in ("ADMIN", "EXCHANGE", "PRIVATE"):
            url = f"http://127.0.0.1:{server.server_port}"
            monkeypatch.setenv(f"OFFSITE_{name}_ENDPOINT", url)
            monkeypatch.setenv(f"OFFSITE_{name}_CREDENTIALS", str(credentials))
        monkeypatch.setenv("OFFSITE_HOME", str(tmp_path / "home"))
        yield server


def run(*arguments: str | Path) -> str:
    """Run a command; what a library or a bug would print raw is not escaped here."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    error = done.exception
    assert error is None or isinstance(error, OffsiteError | SystemExit), repr(error)
    return done.output + (str(error) if isinstance(error, OffsiteError) else "")


@pytest.mark.parametrize("code", [400, 403])
def test_what_a_store_refuses_with_is_told_escaped(
    tmp_path: Path, store: HostileStore, code: int
) -> None:
    store.code = code
    run("keys", "init", "lab")
    for arguments in (
        ["exchange", "init", "s3://exchange"],
        ["exchange", "show", "s3://exchange"],
        ["exchange", "grant", "s3://exchange", "lab", "--from", "hospital"],
        ["exchange", "revoke", "s3://exchange", "lab", "--from", "hospital"],
        ["private", "init", "s3://private", "--credentials", tmp_path / "new.json"],
        ["private", "put", tmp_path / "credentials.json", "s3://private/x"],
        ["private", "get", "s3://private/x", tmp_path / "got"],
        ["private", "list", "s3://private/x"],
        ["bundles", "list", "--exchange", "s3://exchange"],
        ["bundles", "notices", "--exchange", "s3://exchange"],
    ):
        said = run(*arguments)
        assert_harmless(said)
        assert said or arguments[0] == "bundles"


def test_what_a_store_lists_is_told_escaped(tmp_path: Path, store: HostileStore) -> None:
    store.code, store.body = 200, LISTING.encode()
    said = run("private", "list", "s3://private/data")
    assert_harmless(said)
    assert r"\x1b]52;c;cm0gLXJm\x07" in said
    assert_harmless(run("private", "get", "s3://private/data", tmp_path / "got"))
