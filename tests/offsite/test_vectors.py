"""Bundles that were sealed long ago still open."""

import shutil
from pathlib import Path

import pytest

from offsite.errors import BundleError
from offsite.exchange import WHOLE, Auditor, Mailbox, Reference, pull
from offsite.exchange.home import open_mailbox, peers_of, ring_path
from offsite.sealing import PublicRing, load_ring, open_notice, save_ring
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
    pull(mailbox, envelope, tmp_path / "opened", WHOLE, silent())
    for path in (VECTORS / "plain").iterdir():
        assert (tmp_path / "opened" / path.name).read_bytes() == path.read_bytes()
    auditor = Auditor(mailbox.store, [mailbox.peers.get("hospital"), ring.public()])
    assert auditor.verify(DIGEST, silent()) == envelope


STORY = VECTORS / "story"
EMULATOR = "sha256:a54f1f3c1dcfe19806fae879f6c3edbe659f9f4fa13ed7a20e4ace75d59d209e"
ANSWER = "sha256:3a59993ed81acd5551000483cd4c05f96c1116c527fa49aeaa4eb55ed5bdba7e"


def party(root: Path, name: str, *peers: Path) -> Mailbox:
    """Make a party of the story, who has pinned these files of its peer in turn."""
    home = root / name
    plain = Path(shutil.copy(VECTORS / f"{name}.ring.json", root))
    plain.chmod(0o600)
    save_ring(load_ring(plain), ring_path(home))
    for path in peers:
        peers_of(home).add(path.read_bytes(), path.name)
    return open_mailbox(home, (root / "exchange").as_uri(), {})


def test_a_whole_story_of_version_1_holds_for_ever(tmp_path: Path) -> None:
    shutil.copytree(STORY / "exchange", tmp_path / "exchange")
    # a grant; a rotation between the emulator and its answer
    hospital = party(tmp_path, "hospital", VECTORS / "lab.pub")
    question = hospital.incoming("lab", Reference("question"))
    assert (question.digest, question.header.grant.max_uses) == (EMULATOR, 1)
    pull(hospital, question, tmp_path / "question", WHOLE, silent())
    lab = party(tmp_path, "lab", VECTORS / "hospital.pub", STORY / "hospital.rotated.pub")
    answer = lab.incoming("hospital", Reference("answer"))
    assert (answer.digest, answer.header.parent) == (ANSWER, EMULATOR)
    pull(lab, answer, tmp_path / "answer", WHOLE, silent())
    # a tombstone, and a signed model
    with pytest.raises(BundleError, match="withdrew mistake"):
        lab.incoming("hospital", Reference("mistake"))
    # a notice
    trouble = hospital.inbox.notice("lab", "trouble")
    assert trouble is not None
    assert (trouble.header.job, trouble.header.sequence) == ("job-4", 2)
    told = open_notice(trouble, hospital.ring)
    assert (told.stage, told.reason, told.message) == ("Distill", "DataError", "line 7 has no text")
    rings: list[PublicRing] = [lab.ring.public(), lab.peers.get("hospital")]
    provenance, links = Auditor(lab.store, rings).model(STORY / "plugged")
    assert (provenance.origin.alpha, [link.digest for link in links]) == (0.7, [ANSWER, EMULATOR])
