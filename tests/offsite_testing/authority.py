"""Certificates for tests, by an authority of their own, through the command openssl."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DAYS = ("-days", "30")
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Authority:
    """An authority in a folder of its own."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """Its certificate, in PEM."""
        return self.folder / "public.crt"

    @property
    def _key(self) -> Path:
        return self.folder / "private.key"

    def make(self) -> None:
        """Make its key and its certificate, if they are not there."""
        if self.certificate.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        _openssl(
            *("req", "-x509", *_NEW_KEY, *_DAYS, "-subj", "/CN=tests"),
            *("-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def issue(self, key: Path, certificate: Path, subject: str, names: Sequence[str] = ()) -> None:
        """Make a key and a certificate for it.

        Args:
            subject: as in `/O=organization/CN=name`.
            names: what else it is called, as in `DNS:localhost` and `IP:127.0.0.1`.
        """
        request, extensions = self.folder / "request", self.folder / "extensions"
        _openssl(
            *("req", "-new", *_NEW_KEY, "-subj", subject),
            *("-keyout", str(key), "-out", str(request)),
        )
        lines = ["basicConstraints=CA:FALSE", "extendedKeyUsage=serverAuth,clientAuth"]
        lines += ["authorityKeyIdentifier=keyid", "subjectKeyIdentifier=hash"]
        lines += [f"subjectAltName={','.join(names)}"] if names else []
        extensions.write_text("\n".join(lines), encoding="ascii")
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.certificate)),
            *("-CAkey", str(self._key), "-CAcreateserial", *_DAYS),
            *("-extfile", str(extensions), "-out", str(certificate)),
        )


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
