"""Who may do what in the exchange, as the policy of each party's account.

A party writes below `<self>/` and reads there, and below `<peer>/<self>/` of each peer that it was
granted. Patterns end in `/*`, so that `lab` is not the beginning of `lab2`.

On a MinIO a grant is a policy of its own, attached to the account beside the one of its own folder.
The server attaches and detaches each without a look at the others, so that two administrators at
once take nothing from each other.

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
_GRANT = "offsite-reads"
_ACCOUNTS = ["admin:CreateServiceAccount", "admin:CreateUser", "admin:UpdateServiceAccount"]


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


def grant_name(bucket: str, party: str, peer: str) -> str:
    """Name the policy by which a party reads what a peer sends to it."""
    return f"{_GRANT}.{bucket}.{party}.{peer}"


def party_of(bucket: str, name: str) -> str | None:
    """Tell whose account a name is; None: it is none of this bucket's."""
    found = re.fullmatch(rf"offsite\.{re.escape(bucket)}\.([a-z0-9-]+)", name)
    return found[1] if found else None


def peers_in(bucket: str, party: str, names: Iterable[str]) -> tuple[str, ...]:
    """Read from the names of policies whose bundles a party may read."""
    pattern = rf"{re.escape(grant_name(bucket, party, ''))}([a-z0-9-]+)"
    found = (re.fullmatch(pattern, name) for name in names)
    return tuple(sorted({match[1] for match in found if match}))


def policy_of(bucket: str, party: str, peers: Iterable[str]) -> Policy:
    """Write the whole policy of a party that may read what these peers sent to it."""
    inboxes = [f"{peer}/{party}/*" for peer in sorted(set(peers))]
    own = _statement("Allow", _OWN, [_arn(bucket, f"/{party}/*")])
    # to MinIO, who may delete may delete versions, unless told otherwise
    versions = _statement("Deny", ["s3:DeleteObjectVersion"], [_arn(bucket, "/*")])
    reads = [_reads(bucket, inboxes)] if inboxes else []
    return _policy(own, *reads, _lists(bucket, [f"{party}/*", *inboxes]), versions)


def account_policy(bucket: str, party: str) -> Policy:
    """Write the policy of a party's own folder on a MinIO.

    There an account may make others for itself, unless refused: they would outlive the change of a
    key that was stolen. It may change its own secret, too: a thief would lock the party out.
    """
    policy = policy_of(bucket, party, ())
    policy["Statement"].append(_statement("Deny", _ACCOUNTS, ["arn:aws:s3:::*"]))
    return policy


def grant_policy(bucket: str, party: str, peer: str) -> Policy:
    """Write the policy by which a party reads what a peer sends to it."""
    inboxes = [f"{peer}/{party}/*"]
    return _policy(_reads(bucket, inboxes), _lists(bucket, inboxes))


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _reads(bucket: str, patterns: list[str]) -> Policy:
    return _statement("Allow", ["s3:GetObject"], [_arn(bucket, f"/{each}") for each in patterns])


def _lists(bucket: str, patterns: list[str]) -> Policy:
    # The first condition asks that there is a prefix. The second that there are no others: MinIO
    # takes a request with two prefixes, and lists one and checks the other.
    prefixes = {"s3:prefix": sorted(patterns)}
    lists = {"StringLike": prefixes, "ForAllValues:StringLike": prefixes}
    return _statement("Allow", ["s3:ListBucket"], [_arn(bucket)]) | {"Condition": lists}


def _statement(effect: str, actions: list[str], resources: list[str]) -> Policy:
    return {"Effect": effect, "Action": actions, "Resource": resources}


def _arn(bucket: str, keys: str = "") -> str:
    return f"arn:aws:s3:::{bucket}{keys}"


def same_policy(one: Policy, other: Policy) -> bool:
    """Compare what two policies say; a store keeps neither order nor repetition."""
    return bool(_said(one) == _said(other))


def _said(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _said(value) for key, value in part.items()}
    if isinstance(part, list):
        return sorted((_said(each) for each in part), key=repr)
    return part
