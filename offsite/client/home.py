"""A party's home in Python: its keys, its peers and its exchange."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from offsite.api import OffsiteJob
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.exchange import Mailbox
from offsite.exchange.home import create_keys, dns_label, open_mailbox, own_public, peers_of, pin
from offsite.process.lifetime import uncollected
from offsite.runs import Run, Runs, begin, new_id, recorded
from offsite.sealing import Disclosure, PublicRing
from offsite.steps import Party
from offsite.store import disk_errors
from offsite.store.private_store import PrivateStore
from offsite.wire import canonical

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Home:
    """One organization: the folder with its keys and records, and the exchange that it uses.

    It is the folder that `offsite --home` names, so Python and the command line can share one.

    Args:
        folder: The home folder. `create_keys` makes it.
        exchange: A folder, `file:///path`, or `s3://bucket`. The environment configures a bucket,
            as it does for the command line: `OFFSITE_EXCHANGE_ENDPOINT` and so on.
        passphrase: Of the private keys; None: `OFFSITE_PASSPHRASE_FILE` names a file with it, or
            the keys have none.
        checkpoint_seconds: The time between two checkpoints of a training.
        notices: What a peer learns if a stage fails for good.
        approvals: The folder of egress reports and verdicts, if the policy requires approvals.
            None: `approvals` in the home.
    """

    folder: StrPath
    exchange: StrPath
    passphrase: str | None = field(default=None, repr=False)
    checkpoint_seconds: float = 60.0
    notices: Literal["None", "Reason", "Message"] = "Reason"
    approvals: StrPath | None = None

    def __post_init__(self) -> None:
        if self.notices not in set(Disclosure):
            raise InputError(f"notices is {self.notices!r}; use {', '.join(Disclosure)}")

    @property
    def path(self) -> Path:
        """The home folder as an absolute path."""
        return Path(self.folder).expanduser().resolve()

    def create_keys(self, party: str) -> None:
        """Create the keys of a new party.

        Args:
            party: Its id, a DNS label. It cannot be changed later.

        Raises:
            InputError: The home has keys already, or the id is not a DNS label.
        """
        create_keys(self.path, party, os.environ, self.passphrase)

    def export_keys(self) -> bytes:
        """Get the public file that peers pin with `add_peer`. It contains nothing secret.

        Raises:
            InputError: The home has no keys.
        """
        return canonical(self._public().wire()) + b"\n"

    @property
    def party(self) -> str:
        """The id of the party."""
        return self._public().id

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the party's public keys. Peers compare it before they trust them."""
        return self._public().fingerprint

    @property
    def peers(self) -> dict[str, str]:
        """The fingerprints of all pinned peers, by alias."""
        return {alias: ring.fingerprint for alias, ring in peers_of(self.path).all().items()}

    def add_peer(self, keys: bytes | StrPath, *, alias: str | None = None) -> str:
        """Pin the keys of a peer, or replace them by newer ones that the pinned keys signed.

        Args:
            keys: The peer's public file: its path, or its content.
            alias: Your own name for the peer; None: its id.

        Returns:
            The fingerprint of the peer's keys. Compare it with the peer over another channel.

        Raises:
            InputError: It is not a public file, it is your own, or the pinned keys did not sign it.
        """
        source = "the public file" if isinstance(keys, bytes) else os.fspath(keys)
        name = None if alias is None else dns_label("alias", alias)
        content = keys if isinstance(keys, bytes) else _read(Path(keys))
        return pin(self.path, content, source, name, os.environ).fingerprint

    def run(self, job: OffsiteJob, monitor: Monitor, *, base: StrPath = ".") -> None:
        """Run a job here, as `offsite run` does, and keep its record in `runs` in the home.

        If the environment sets `OFFSITE_MLFLOW_URI`, the run is logged to MLflow, too.

        Args:
            job: The job, as `offsite.config.load_job` reads it from a file.
            monitor: Receives the job's events, and can stop it.
            base: The folder that relative paths of the job are relative to.

        Raises:
            OffsiteError: The job failed. Nothing incomplete was published.
        """
        mailbox = open_mailbox(self.path, os.fspath(self.exchange), os.environ, self.passphrase)
        with recorded(Runs(self.path), _record(job, mailbox), monitor) as watched:
            self._run(job, mailbox, watched, Path(base))

    def _run(self, job: OffsiteJob, mailbox: Mailbox, monitor: Monitor, base: Path) -> None:
        with uncollected():  # torch takes seconds to import, so only what needs it does so
            from offsite.stages.run import run_job

        party = Party.on_this_machine(
            mailbox.id,
            self.path,
            PrivateStore(self.path / "copies", mailbox.store, os.environ),
            base.expanduser().resolve(),
            self.checkpoint_seconds,
            None if self.approvals is None else Path(self.approvals).expanduser().resolve(),
        )
        run_job(job, replace(party, notices=Disclosure(self.notices)), mailbox, monitor)

    def _public(self) -> PublicRing:
        public = own_public(self.path, os.environ)
        if public is None:
            raise InputError(f"{self.path} has no keys; create them with Home.create_keys")
        return public


def _record(job: OffsiteJob, mailbox: Mailbox) -> Run:
    """Begin the record of a run. A peer that is not pinned has no other id than its name."""
    own = mailbox.ring.public()
    peer = mailbox.peers.all().get(job.spec.peer)
    known = [own] if peer is None else [own, peer]
    return begin(
        job,
        new_id(job.metadata.name),
        party=own.id,
        peer=job.spec.peer if peer is None else peer.id,
        fingerprints={each.id: each.fingerprint for each in known},
    )


def _read(path: Path) -> bytes:
    with disk_errors(path):
        if not path.is_file():
            raise InputError(f"there is no file {path}")
        return path.read_bytes()
