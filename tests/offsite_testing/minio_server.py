"""A real MinIO server on loopback, for tests: found on PATH, or built once from its Go module.

`python -m offsite_testing.minio_server` builds it ahead of time.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from offsite.store.s3 import S3Store
from offsite_testing.authority import Authority
from offsite_testing.gobuild import GoProgram, find

_PATIENCE = 60.0
VERSIONS = r"version (DEVELOPMENT|RELEASE\.2025-(09|1)|RELEASE\.202[6-9])"
"""Those of which a write on condition is one: of September 2025 and later."""

# The server ends with the thread that started it, however that ended. Then it becomes the server:
# its pid is the one we know.
_BOUND = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


def minio_binary() -> Path:
    """Find a MinIO server, or build it.

    Raises:
        RuntimeError: it is not there and cannot be built.
    """
    return find(GoProgram("minio", "github.com/minio/minio", ("--version",), VERSIONS))


@dataclass
class MinioServer:
    """A server that can be stopped, killed and started again with its data and at its place."""

    folder: Path
    port: int
    tls: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    """More variables of its environment."""
    user: str = field(default_factory=lambda: secrets.token_hex(8))
    password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that signed its own."""
        return self._signer.certificate

    @property
    def _signer(self) -> Authority:
        return Authority(self.folder / "authority")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        certs = self.folder / "certs"
        if self.tls and not certs.exists():
            certs.mkdir(parents=True)
            self._signer.make()
            names = ["IP:127.0.0.1", "DNS:localhost"]
            own = certs / "private.key", certs / "public.crt"
            self._signer.issue(*own, "/CN=127.0.0.1", names)
        options = ["--address", f"127.0.0.1:{self.port}", "--certs-dir", str(certs), "--quiet"]
        command = [str(minio_binary()), "server", *options, str(self.folder / "data")]
        known = {"PATH": os.defpath, "HOME": str(self.folder), "MINIO_BROWSER": "off", **self.extra}
        known |= {"MINIO_ROOT_USER": self.user, "MINIO_ROOT_PASSWORD": self.password}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOUND, *command],
                env=known,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def store(self, bucket: str, stall_seconds: float = 30.0) -> S3Store:
        """Give a bucket, as its administrator."""
        trusted = str(self.authority) if self.tls else None
        return S3Store(
            self.endpoint,
            bucket,
            self.user,
            self.password,
            ca_file=trusted,
            stall_seconds=stall_seconds,
        )

    def root(self) -> Minio:
        """Give the SDK's client, as its administrator."""
        return self.store("any").client()

    def admin(self) -> MinioAdmin:
        """Give the SDK's admin client; not over TLS."""
        keys = StaticProvider(self.user, self.password)
        return MinioAdmin(endpoint=f"127.0.0.1:{self.port}", credentials=keys, secure=False)

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    self.root().list_buckets()  # asked again until it is ready
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"MinIO did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE)
            self._process = None


@contextmanager
def running_minio(
    folder: Path, *, tls: bool = False, extra: dict[str, str] | None = None
) -> Iterator[MinioServer]:
    """Run a server in a folder of its own while the `with` block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    server = MinioServer(folder, free_port(), tls, extra or {})
    try:
        server.start()
        yield server
    finally:
        server.kill()


def free_port() -> int:
    """Find a port of the loopback that nobody listens at."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
        return port


if __name__ == "__main__":
    print(minio_binary())
