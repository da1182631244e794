"""A real MinIO server on loopback, for tests: found on PATH, or built once from its Go module.

`python -m offsite_testing.minio_server` builds it ahead of time.
"""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock
from minio import Minio
from minio.credentials.providers import StaticProvider
from minio.minioadmin import MinioAdmin

from offsite.store.s3 import S3Store

_MODULE = Path(__file__).parents[1] / "tools" / "minio"
_PACKAGE = "github.com/minio/minio"
_PATIENCE = 60.0
_REMEDY = (
    "install Go 1.25 or newer (the package golang, where it is new enough, or go.dev/dl), "
    "or put a minio on PATH"
)

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
    found = shutil.which("minio")
    if found and subprocess.run([found, "--version"], capture_output=True).returncode == 0:
        return Path(found)
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((_MODULE / name).read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    target = cache / "offsite-tuning" / "tools" / f"minio-{digest.hexdigest()[:16]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.exists():  # another test process may have built it meanwhile
                _build(target)
    return target


def _build(target: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise RuntimeError(f"the tests need a MinIO server, and Go to build it: {_REMEDY}")
    scratch = target.with_suffix(".partial")
    command = [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(scratch), _PACKAGE]
    known = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(command, cwd=_MODULE, env=known, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"MinIO could not be built; {_REMEDY}:\n{done.stderr[-2000:]}")
    scratch.replace(target)


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
        return self.folder / "authority" / "public.crt"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        certs = self.folder / "certs"
        if self.tls and not certs.exists():
            _make_certificates(certs, self.authority.parent)
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


def _make_certificates(own: Path, authority: Path) -> None:
    """Make an authority and a certificate of the loopback by it, where MinIO looks for its own."""
    own.mkdir(parents=True)
    authority.mkdir(parents=True)
    signing = authority / "private.key"
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-days", "2", "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign"),
        *("-keyout", str(signing), "-out", str(authority / "public.crt")),
    )
    request, names = authority / "request", authority / "names"
    _openssl(
        *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", "/CN=127.0.0.1", "-keyout", str(own / "private.key"), "-out", str(request)),
    )
    names.write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n"
        "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n",
        encoding="ascii",
    )
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(authority / "public.crt")),
        *("-CAkey", str(signing), "-CAcreateserial", "-days", "2", "-extfile", str(names)),
        *("-out", str(own / "public.crt")),
    )


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    print(minio_binary())
