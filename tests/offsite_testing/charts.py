"""Values of the charts, as an administrator writes them."""

from typing import Any

Values = dict[str, Any]

EXCHANGE: Values = {"images": {"minio": "localhost/offsite-minio:1"}}
"""The least that the exchange wants to know."""


def peers(app: str) -> list[dict[str, Any]]:
    """Name pods by their label `app`, as a NetworkPolicy does."""
    return [{"podSelector": {"matchLabels": {"app": app}}}]


def organization(**more: Values) -> Values:
    """Say the least that has to be said of an organization, and more.

    Args:
        more: what is added to sections, or put in the place of values in them.
    """
    known: Values = {
        "party": "lab",
        "images": {"operator": "localhost/operator:1", "runtime": "localhost/runtime:1"},
        "private": {
            "uri": "s3://models/lab",
            "endpoint": "https://private.example",
            "secret": "offsite-private",
            "to": peers("private"),
        },
        "exchange": {
            "uri": "s3://exchange",
            "endpoint": "https://exchange.example:9000",
            "secret": "offsite-exchange",
            "to": peers("exchange"),
        },
        "identity": {"secret": "offsite-identity"},
    }
    return known | {name: known.get(name, {}) | part for name, part in more.items()}


def on_claim() -> Values:
    """Say the least of an organization whose private store is a claim."""
    return organization() | {"private": {"uri": "pvc://models/lab"}}
