"""Who may do what in the exchange, as the policy of each party's account.

A party writes below `<self>/` and reads there, and below `<peer>/<self>/` of each peer that it was
granted. Patterns end in `/*`, so that `lab` is not the beginning of `lab2`.

Two things these policies do not hold on MinIO. A request that forges a header `Prefix` lists any
name, as MinIO takes conditions from headers too; what it lists it still cannot read. And one with
the header `x-minio-force-delete` deletes objects of its own party with all their versions.
"""

import re
from collections.abc import Iterable
from typing import Any

from offsite.api import NAME_PATTERN, PATTERN_MEANING
from offsite.errors import InputError

Policy = dict[str, Any]
"""A policy document, as JSON."""

_OWN = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
_ACCOUNTS = ["admin:CreateServiceAccount", "admin:UpdateServiceAccount"]


def check_party(party: str) -> str:
    """Check that a party's id cannot be mistaken for another's, or for a pattern.

    Raises:
        InputError: it is no DNS label.
    """
    if re.fullmatch(NAME_PATTERN.rstrip("$"), party) is None:
        raise InputError(f"{party!r} is no party; use {PATTERN_MEANING[NAME_PATTERN]}")
    return party


def account_name(bucket: str, party: str) -> str:
    """Name the account of a party, and its policy.

    A bucket's name may hold dots, a party's may not; so no two pairs share a name.
    """
    return f"offsite.{bucket}.{party}"


def party_of(bucket: str, name: str) -> str | None:
    """Tell whose account a name is; None: it is none of this bucket's."""
    found = re.fullmatch(rf"offsite\.{re.escape(bucket)}\.([a-z0-9-]+)", name)
    return found[1] if found else None


def policy_of(bucket: str, party: str, peers: Iterable[str]) -> Policy:
    """Write the policy of a party that may read what these peers sent to it."""
    inboxes = [f"{peer}/{party}/*" for peer in sorted(set(peers))]
    bucket_name = f"arn:aws:s3:::{bucket}"
    mine = f"{party}/*"
    # The first condition asks that there is a prefix. The second that there are no others: MinIO
    # takes a request with two prefixes, and lists one and checks the other.
    prefixes = {"s3:prefix": sorted([mine, *inboxes])}
    lists = {"StringLike": prefixes, "ForAllValues:StringLike": prefixes}
    statements: list[Policy] = [
        _statement("Allow", _OWN, [f"{bucket_name}/{mine}"]),
        _statement("Allow", ["s3:ListBucket"], [bucket_name]) | {"Condition": lists},
        # to MinIO, who may delete may delete versions, unless told otherwise
        _statement("Deny", ["s3:DeleteObjectVersion"], [f"{bucket_name}/*"]),
    ]
    if inboxes:
        names = [f"{bucket_name}/{inbox}" for inbox in inboxes]
        statements.insert(1, _statement("Allow", ["s3:GetObject"], names))
    return {"Version": "2012-10-17", "Statement": statements}


def minio_policy_of(bucket: str, party: str, peers: Iterable[str]) -> Policy:
    """Write that policy for a MinIO, where an account may make others for itself, unless refused.

    Such a one would outlive the change of a key that was stolen.
    """
    policy = policy_of(bucket, party, peers)
    policy["Statement"].append(_statement("Deny", _ACCOUNTS, ["arn:aws:s3:::*"]))
    return policy


def _statement(effect: str, actions: list[str], resources: list[str]) -> Policy:
    return {"Effect": effect, "Action": actions, "Resource": resources}


def peers_in(bucket: str, party: str, policy: Policy) -> tuple[str, ...]:
    """Read from a policy whose bundles its party may read."""
    pattern = rf"arn:aws:s3:::{re.escape(bucket)}/([a-z0-9-]+)/{re.escape(party)}/\*"
    resources = [
        each for statement in policy["Statement"] for each in statement.get("Resource", [])
    ]
    found = (re.fullmatch(pattern, resource) for resource in resources)
    return tuple(sorted({match[1] for match in found if match}))


def same_policy(one: Policy, other: Policy) -> bool:
    """Compare what two policies say; a store keeps neither order nor repetition."""
    return bool(_said(one) == _said(other))


def _said(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _said(value) for key, value in part.items()}
    if isinstance(part, list):
        return sorted((_said(each) for each in part), key=repr)
    return part
