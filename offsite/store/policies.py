"""The policies of each party's account in the exchange.

A party reads and writes below `<self>/`, and reads below `<peer>/<self>/` of each peer that it was
granted. Patterns end in `/*`, so that `lab` does not match `lab2`. A party's reader, its operator's
account, may list the same, reads only the envelopes, and writes nothing.

On MinIO, each grant is a separate policy, attached to the account beside the policy of its own
folder. The server attaches and detaches them independently, so concurrent administrators do not
overwrite each other's grants.

Two things cannot be enforced on MinIO. A request with a forged header `Prefix` can list any name,
because MinIO reads conditions from headers, too; it still cannot read the objects. And a request
with the header `x-minio-force-delete` deletes objects of its own party with all their versions.
"""

from collections.abc import Iterable
from typing import Any

Policy = dict[str, Any]
"""A policy document as JSON."""

_OWN = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
_ENVELOPES = ("*/*/envelope-*", "*/notice")
"""Below a sender and a recipient: `<name>/<sequence>/envelope-<sha256>`, and `<name>/notice`."""
_PRINCIPAL = "aws:principaltype"
_ACCOUNTS = ["admin:CreateServiceAccount", "admin:CreateUser", "admin:UpdateServiceAccount"]


def policy_of(bucket: str, party: str, peers: Iterable[str], reader: bool = False) -> Policy:
    """Build the complete policy of a party, or of its reader, with grants for these peers."""
    inboxes = [f"{peer}/{party}/" for peer in sorted(set(peers))]
    reads = [_reads(bucket, inboxes, reader)] if inboxes else []
    lists = _lists(bucket, [f"{party}/", *inboxes])
    if reader:
        return _policy(_reads(bucket, [f"{party}/*/"], reader), *reads, lists)
    own = _statement("Allow", _OWN, [_arn(bucket, f"/{party}/*")])
    # MinIO lets accounts that delete objects delete versions, too, unless denied
    versions = _statement("Deny", ["s3:DeleteObjectVersion"], [_arn(bucket, "/*")])
    return _policy(own, *reads, lists, versions)


def account_policy(bucket: str, party: str, reader: bool = False) -> Policy:
    """Build the policy of a party's own folder on MinIO.

    It denies three things that MinIO allows by default. An account could create further accounts,
    which would outlive a change of a stolen key. It could change its own secret, so a thief could
    lock the party out. And it could create sessions (STS) of up to seven days, which cannot be
    denied, so sessions are denied everything.
    """
    policy = policy_of(bucket, party, (), reader)
    policy["Statement"] += [_statement("Deny", _ACCOUNTS, [_arn("*")]), *_no_sessions()]
    return policy


def grant_policy(bucket: str, party: str, peer: str, reader: bool = False) -> Policy:
    """Build the policy by which a party, or its reader, reads what a peer sends to it."""
    inboxes = [f"{peer}/{party}/"]
    return _policy(_reads(bucket, inboxes, reader), _lists(bucket, inboxes))


def bucket_policy(bucket: str) -> Policy:
    """Build the policy of an account that has access to one MinIO bucket only."""
    large = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return _policy(
        _statement("Allow", [*_OWN, *large], [_arn(bucket, "/*")]),
        _statement("Allow", ["s3:ListBucket"], [_arn(bucket)]),
        _statement("Deny", _ACCOUNTS, [_arn("*")]),
    )


def _no_sessions() -> list[Policy]:
    # Headers can forge condition keys (see above), but not policy variables. So deny requests whose
    # header contradicts the variable, and deny everything that is a session or claims to be one.
    forged = {"StringNotEquals": {_PRINCIPAL: [f"${{{_PRINCIPAL}}}"]}}
    session = {"StringEquals": {_PRINCIPAL: ["AssumedRole"]}}
    denied = _statement("Deny", ["s3:*"], [_arn("*")])
    return [denied | {"Condition": condition} for condition in (forged, session)]


def _policy(*statements: Policy) -> Policy:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _reads(bucket: str, folders: list[str], reader: bool) -> Policy:
    patterns = [each + end for each in folders for end in (_ENVELOPES if reader else ("*",))]
    return _statement("Allow", ["s3:GetObject"], [_arn(bucket, f"/{each}") for each in patterns])


def _lists(bucket: str, folders: list[str]) -> Policy:
    # The first condition requires a prefix. The second allows no others: given two prefixes, MinIO
    # checks one and lists the other.
    prefixes = {"s3:prefix": sorted(f"{folder}*" for folder in folders)}
    lists = {"StringLike": prefixes, "ForAllValues:StringLike": prefixes}
    return _statement("Allow", ["s3:ListBucket"], [_arn(bucket)]) | {"Condition": lists}


def _statement(effect: str, actions: list[str], resources: list[str]) -> Policy:
    return {"Effect": effect, "Action": actions, "Resource": resources}


def _arn(bucket: str, keys: str = "") -> str:
    return f"arn:aws:s3:::{bucket}{keys}"


def same_policy(one: Policy, other: Policy) -> bool:
    """Return whether two policies are equivalent; a store keeps neither order nor repetition."""
    return bool(_said(one) == _said(other))


def _said(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _said(value) for key, value in part.items()}
    if isinstance(part, list):
        return sorted((_said(each) for each in part), key=repr)
    return part
