"""A store that answers nonsense, without end, or too much: each is an error of ours."""

import http.server
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from offsite.errors import InputError, OffsiteError, StorageError
from offsite.store.s3 import S3Store

MIB = 1 << 20
SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _Liar(http.server.BaseHTTPRequestHandler):
    """Gives one answer to everything, in pieces of a mebibyte."""

    status, body, times = 200, b"", 1
    protocol_version = "HTTP/1.1"  # noqa: V107 - the server reads it

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(self.body) * self.times))
        self.end_headers()
        try:
            for _ in range(self.times):
                self.wfile.write(self.body)
        except OSError:
            self.close_connection = True  # noqa: V101 - the server reads it

    do_GET = do_PUT = do_POST = _answer  # noqa: V107 - the server calls them

    def log_message(self, *_: object) -> None:  # noqa: V105 - the server calls it
        """Be silent."""


@contextmanager
def liar(body: bytes, status: int = 200, times: int = 1) -> Iterator[S3Store]:
    """Run a store that answers so."""
    facts = {"body": body, "status": status, "times": times}
    handler = type("_OneLiar", (_Liar,), facts)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        yield S3Store(endpoint, "exchange", "key", "secret", stall_seconds=2)
        server.shutdown()


def listing(*objects: str, rest: str = "") -> bytes:
    """Write what a store answers to a listing."""
    body = f"<Name>exchange</Name>{rest}{''.join(objects)}"
    return f'<ListBucketResult xmlns="{SPACE}">{body}</ListBucketResult>'.encode()


def entry(
    key: str = "lab/x", size: str = "1", time: str = "2026-01-02T03:04:05.000Z", etag: str = '"e"'
) -> str:
    """Write one object of a listing."""
    return (
        f"<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{time}</LastModified>"
        f"<ETag>{etag}</ETag></Contents>"
    )


def test_an_honest_listing_is_read() -> None:
    with liar(listing(entry(), entry("other/y"))) as store:
        assert store.sizes("lab/") == {"lab/x": 1}  # and nothing that was not asked for


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<",
        b"\xff\xfe",
        b"<a/>" * 3,
        listing(entry(size="many")),
        listing(entry(size="1e9")),
        listing(entry(time="yesterday")),
        listing(entry(time="9999999-01-01T00:00:00.000Z")),
        listing("<Contents/>"),
    ],
)
def test_nonsense_is_told(body: bytes) -> None:
    with liar(body) as store, pytest.raises(InputError, match="not an S3 store"):
        store.sizes("lab/")


@pytest.mark.parametrize("status", [200, 403, 404])
@pytest.mark.parametrize("verb", ["list", "get", "put", "delete"])
@pytest.mark.parametrize("body", [b"", b"plain words", b"<Error>", b"<Error><Code/></Error>"])
def test_every_answer_is_an_error_of_ours_or_none(status: int, verb: str, body: bytes) -> None:
    verbs = {
        "list": lambda store: store.sizes("lab/"),
        "get": lambda store: store.get("lab/x", 100),
        "put": lambda store: store.put("lab/x", b"1"),
        "delete": lambda store: store.delete(["lab/x"]),
    }
    with liar(body, status) as store:
        try:
            verbs[verb](store)
        except OffsiteError:
            return
        assert status == 200


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize("verb", ["sizes", "get"])
def test_too_much_is_not_read(status: int, verb: str) -> None:
    with liar(b" " * MIB, status, times=200) as store:
        ask = (lambda: store.sizes("lab/")) if verb == "sizes" else (lambda: store.get("lab/x", 9))
        with pytest.raises(OffsiteError, match="larger than"):
            ask()


def test_a_listing_without_end_ends() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    page = listing(*(entry(f"lab/{number}") for number in range(20)), rest=more)
    with liar(page) as store, pytest.raises(StorageError, match="lists more than 50 objects"):
        replace(store, most_objects=50).sizes("lab/")


def test_who_waits_for_a_store_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with liar(b"", status=503) as store:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(store.get, "lab/x", 9) for _ in range(4)]
        assert all(isinstance(each.exception(), OffsiteError) for each in asked)
    said = [each.getMessage() for each in caplog.records if each.name == "offsite.store.retries"]
    (only,) = said
    assert re.fullmatch(r"offsite: http://127.* does not answer; retrying for another [12] s", only)
