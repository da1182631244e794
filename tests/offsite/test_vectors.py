"""Bundles that were sealed long ago still open."""

import shutil
from pathlib import Path

from offsite.bundle import read_manifest
from offsite.exchange import Checks, Reference, Witness, pull
from offsite.exchange.home import open_mailbox, peers_of, ring_path
from offsite.sealing import load_ring, save_ring
from offsite_testing.core import silent

VECTORS = Path(__file__).parents[1] / "vectors/v1"
DIGEST = "sha256:e16b92568399c8f89285c8739c17148ab45493d137bcb60c41b76d4c5cae281f"


def test_version_1_opens_for_ever(tmp_path: Path) -> None:
    home, exchange = tmp_path / "home", tmp_path / "exchange"
    shutil.copytree(VECTORS / "exchange", exchange)
    protected = Path(shutil.copy(VECTORS / "lab.protected.json", tmp_path))
    protected.chmod(0o600)
    ring = load_ring(protected, "correct horse battery staple")
    save_ring(ring, ring_path(home))
    plain = Path(shutil.copy(VECTORS / "lab.ring.json", tmp_path))
    plain.chmod(0o600)
    assert load_ring(plain) == ring
    peers_of(home).add((VECTORS / "hospital.pub").read_bytes(), "hospital.pub")
    mailbox = open_mailbox(home, exchange.as_uri(), {})
    envelope = mailbox.incoming("hospital", Reference("vector"))
    assert envelope.digest == DIGEST
    checks = Checks(lambda manifest: None, lambda folder: read_manifest(folder)[0])
    pull(mailbox, envelope, tmp_path / "opened", checks, silent())
    for path in (VECTORS / "plain").iterdir():
        assert (tmp_path / "opened" / path.name).read_bytes() == path.read_bytes()
    witness = Witness(mailbox.store, [mailbox.peers.get("hospital"), ring.public()])
    assert witness.verify(DIGEST, silent()) == envelope
