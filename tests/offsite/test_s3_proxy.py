"""An S3 store behind proxies: named by the environment, with a login, and tunnels for TLS."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from offsite.errors import NotAllowedError, UnreachableError
from offsite.store.admin import ExchangeAdmin
from offsite.store.s3 import S3Store
from offsite_testing.minio_server import MinioServer, free_port, running_minio

pytestmark = pytest.mark.timeout(900)  # the first run builds the server

BUCKET = "exchange"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """A server that takes the bucket from the host's name."""
    with running_minio(tmp_path_factory.mktemp("minio"), extra={"MINIO_DOMAIN": "s3.test"}) as made:
        ExchangeAdmin(made.store(BUCKET)).prepare()
        yield made


@pytest.fixture
def store(server: MinioServer) -> S3Store:
    return server.store(BUCKET)


def test_the_host_may_hold_the_bucket_and_a_proxy_stand_before_it(
    server: MinioServer, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MinIO answers what is sent to it as to a proxy, and so plays one
    monkeypatch.setenv("http_proxy", f"http://somebody:pass%20word@127.0.0.1:{server.port}")
    virtual = replace(store, endpoint="http://s3.test", path_style=False)
    virtual.put("virtual/x", b"at exchange.s3.test")
    monkeypatch.delenv("http_proxy")
    assert store.get("virtual/x", 99) == b"at exchange.s3.test"


def test_hosts_that_need_no_proxy_are_reached_without(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnreachableError, match="proxy"):
        replace(store, stall_seconds=0.5).put("proxied/x", b"")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    replace(store).put("proxied/x", b"")


@contextmanager
def tunnel(port: int) -> Iterator[tuple[int, list[str]]]:
    """Run a proxy that opens one tunnel to a server; gives its port, and what it heard."""
    heard: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        heard.append(client.recv(65536).decode())
        with socket.create_connection(("127.0.0.1", port)) as server, client:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass, args=(server, client), daemon=True)
            back.start()
            _pass(client, server)

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield listener.getsockname()[1], heard


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):  # either end may close at any time
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_tls_goes_through_a_tunnel_to_whom_it_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_minio(tmp_path, tls=True) as server:
        ExchangeAdmin(server.store(BUCKET)).prepare()
        for trusted in (True, False):
            with tunnel(server.port) as (port, heard):
                monkeypatch.setenv("https_proxy", f"http://somebody:word@127.0.0.1:{port}")
                store = server.store(BUCKET, stall_seconds=2)
                if trusted:
                    store.put("tunnel/x", b"sealed anyway")
                    assert store.get("tunnel/x", 99) == b"sealed anyway"
                else:
                    with pytest.raises(NotAllowedError, match="is not trusted"):
                        replace(store, ca_file=None).put("tunnel/x", b"")
            assert heard[0].startswith(f"CONNECT 127.0.0.1:{server.port} ")
            assert "proxy-authorization: basic" in heard[0].lower()
