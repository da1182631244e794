"""A peer or a store that is hostile, but signs what it sends and names it rightly.

Spoiling signed bytes ends at the signature. Here a header, a wrapped key, or the names in a listing
are spoiled first, and then signed, sealed and put where they belong.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from offsite.bundle import Manifest
from offsite.events import Monitor
from offsite.exchange import WHOLE, HomeLedger, Mailbox, Outgoing, Reference, pull, push
from offsite.exchange.listing import envelope_name
from offsite.sealing import (
    Envelope,
    Header,
    PublicRing,
    Ring,
    new_bundle_key,
    open_notice,
    write_envelope,
)
from offsite.sealing.envelope import WrappedKey, wrap
from offsite.sealing.identity import Endorsement
from offsite.sealing.peers import Peers
from offsite.sealing.primitives import encrypt, public_keyset, sign
from offsite.store import FolderStore
from offsite.store.artifact_store import FolderArtifactStore
from offsite.wire import canonical, digest_of, text_of

_PLACE = "hospital/lab/answer/"


def endorsed(public: PublicRing, ring: Ring) -> PublicRing:
    """Sign a public file with a party's newest key, whatever it says."""
    signer = ring.newest("sign")
    signed = Endorsement(by=signer.id, signature=text_of(sign(signer.keyset, public.content)))
    return public.model_copy(update={"endorsements": (signed,)})


@dataclass(frozen=True)
class HostilePeer:
    """The hospital, which has sent the lab one honest bundle, and goes on from there."""

    root: Path
    lab: Mailbox
    hospital: Ring
    sent: Envelope

    @classmethod
    def of(cls, lab: Ring, hospital: Ring, folder: Path, root: Path) -> "HostilePeer":
        """Let the hospital send an honest bundle, which lies in a folder; both live in a root."""
        homes = {ring.id: root / ring.id for ring in (lab, hospital)}
        for ring, other in ((lab, hospital), (hospital, lab)):
            Peers(homes[ring.id]).add(canonical(other.public().wire()), other.id)
        mailboxes = {
            ring.id: Mailbox(
                ring=ring,
                peers=Peers(homes[ring.id]),
                store=FolderStore(root / "exchange"),
                ledger=HomeLedger(homes[ring.id] / "books"),
                scratch=homes[ring.id] / "journals",
                journals=FolderArtifactStore(homes[ring.id] / "journals"),
            )
            for ring in (lab, hospital)
        }
        push(mailboxes["hospital"], Outgoing(folder, "lab", job="job"), _silent())
        sent = cls._incoming(mailboxes["lab"])
        shutil.copytree(root / "exchange", root / "spoiled")
        FolderStore(root / "spoiled").delete([f"{_PLACE}1/{envelope_name(sent.digest)}"])
        return cls(root, mailboxes["lab"], hospital, sent)

    @staticmethod
    def _incoming(lab: Mailbox) -> Envelope:
        return lab.incoming("hospital", Reference("answer"))

    def pull_header(self, content: bytes) -> Manifest | None:
        """Sign a spoiled header, over the honest bundle's key and shards, and pull that.

        None: it cannot be signed, as whoever reads it would take it for no header at once.
        """
        try:
            header = Header.model_validate_json(content)
        except ValueError:  # pydantic's is one
            return None
        key = self.sent.bundle_key(self.lab.ring)
        envelope = write_envelope(header, key, self.hospital, [self.lab.ring.public()])
        lab = replace(self.lab, store=FolderStore(self.root / "spoiled"))
        place = f"{_PLACE}1/{envelope_name(envelope.digest)}"
        lab.store.put(place, envelope.content)
        try:
            return self._pull(lab)
        finally:
            lab.store.delete([place])

    def _pull(self, lab: Mailbox) -> Manifest:
        with tempfile.TemporaryDirectory(dir=self.root) as scratch:
            fresh = replace(lab, ledger=HomeLedger(Path(scratch) / "books"))
            envelope = self._incoming(fresh)
            return pull(fresh, envelope, Path(scratch) / "out", WHOLE, _silent())

    def hear(self, content: bytes) -> object:
        """Let a notice say something else than notices do, seal and sign it, and let it be read."""
        header = self.sent.header.model_copy(update={"kind": "notice", "shards": ()})
        sealed = wrap(header, content, self.hospital, [self.lab.ring.public()])
        return open_notice(sealed, self.lab.ring)

    def unwrap(self, content: bytes) -> object:
        """Wrap something else than a bundle's key, sign it, and let the lab unwrap it."""
        to = self.lab.ring.newest("encrypt")
        context = digest_of(self.sent.header.content).encode()
        wrapped = encrypt(public_keyset(to.keyset), content, context)
        keys = (WrappedKey(to=to.id, ciphertext=text_of(wrapped)),)
        bare = self.sent.model_copy(update={"keys": keys})
        signature = text_of(sign(self.hospital.newest("sign").keyset, bare.signed))
        return bare.model_copy(update={"signature": signature}).bundle_key(self.lab.ring)

    def succeed(self, content: bytes) -> Envelope | None:
        """Endorse a spoiled public file with the hospital's own key; pin it, and seal to it.

        None: it cannot be endorsed, as with a spoiled header.
        """
        try:
            ring = endorsed(PublicRing.model_validate_json(content), self.hospital)
        except ValueError:
            return None
        public = canonical(ring.wire())
        with tempfile.TemporaryDirectory(dir=self.root) as folder:
            pinned = Peers(Path(folder)).add(public, "file", "hospital")
            header = self.sent.header.model_copy(update={"shards": ()})
            return write_envelope(header, new_bundle_key(), self.lab.ring, [pinned])

    @property
    def listing(self) -> bytes:
        """What the store lists, as JSON."""
        return json.dumps(self.lab.store.sizes(_PLACE)).encode()

    def look(self, content: bytes) -> Envelope:
        """Look for the bundle in a store that lists something else."""
        try:
            told = json.loads(content)
        except (ValueError, RecursionError):
            told = {}
        sizes = told if isinstance(told, dict) else {}
        store = Lying(self.root / "exchange", {str(key): 1 for key in sizes})
        return self._incoming(replace(self.lab, store=store))


@dataclass(frozen=True)
class Lying(FolderStore):
    """A folder that lists what it likes."""

    listed: dict[str, int]

    def sizes(self, prefix: str) -> dict[str, int]:
        """List anything."""
        return {key: size for key, size in self.listed.items() if key.startswith(prefix)}


def _silent() -> Monitor:
    return Monitor(lambda event: None)
