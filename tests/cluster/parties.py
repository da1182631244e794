"""An organization in a cluster: a namespace with its keys and its account at the exchange."""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.minio import MinioPod
from cluster.namespaces import Namespace
from offsite.exchange.home import keep_ring, peers_of, public_path, ring_path
from offsite.sealing import Ring
from offsite.store.admin import ExchangeAdmin
from offsite.wire import canonical

BUCKET, PRIVATE = "exchange", "offsite-private"
IDENTITY, EXCHANGE, READER = "offsite-identity", "offsite-exchange", "offsite-exchange-reader"
"""The Secrets of a party: its keys with those of its peers, its account, and its operator's."""


@dataclass(frozen=True)
class Party:
    """An organization, as its administrator set it up."""

    id: str
    space: Namespace
    ring: Ring


def introduce(minio: MinioPod, spaces: dict[str, Namespace], folder: Path) -> list[Party]:
    """Make parties who know each other, each with an account of its own at one exchange.

    Args:
        spaces: the namespace of each, by its id.
        folder: for files that are handed over.
    """
    parties = [Party(name, space, Ring.new(name)) for name, space in spaces.items()]
    admin = ExchangeAdmin(minio.store(BUCKET))
    admin.prepare()
    for party in parties:
        others = [other for other in parties if other is not party]
        for other in others:
            admin.grant(party.id, other.id, folder / "credentials")
        admin.add_reader(party.id, folder / "credentials")
        _keep_secrets(party, others, folder)
    return parties


def keep_in(store: MinioPod, party: Party, folder: Path) -> dict[str, Any]:
    """Give a party a bucket of its own; say it as the values of its chart do.

    Args:
        folder: for files that are handed over.
    """
    ExchangeAdmin(store.store(PRIVATE)).prepare()
    keys = folder / f"{party.id}.private.json"
    keys.write_text(json.dumps({"accessKey": store.user, "secretKey": store.password}))
    _secret(party, PRIVATE, {"credentials.json": keys})
    return {
        "uri": f"s3://{PRIVATE}/offsite",
        "endpoint": store.inside,
        "secret": PRIVATE,
        "to": [store.space.selector],
    }


def _keep_secrets(party: Party, others: list[Party], folder: Path) -> None:
    home = folder / party.id
    keep_ring(home, party.ring, None)
    for other in others:
        peers_of(home).add(canonical(other.ring.public().wire()), other.id)
    peers = {f"peer-{path.name}": path for path in (home / "peers").iterdir()}
    keys = {"ring.json": ring_path(home), "public.json": public_path(home), **peers}
    _secret(party, IDENTITY, keys)
    accounts = folder / "credentials"
    _secret(party, EXCHANGE, {"credentials.json": accounts / f"{party.id}.json"})
    _secret(party, READER, {"credentials.json": accounts / f"{party.id}.reader.json"})


def _secret(party: Party, name: str, files: dict[str, Path]) -> None:
    data = {key: b64encode(path.read_bytes()).decode() for key, path in files.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    party.space.apply({**secret, "data": data})
