"""Who may do what in the exchange, as the policy of each party's account.

A party writes below `<self>/` and reads there, and below `<peer>/<self>/` of each peer that it was
granted. Patterns end in `/*`, so that `lab` is not the beginning of `lab2`. A party's reader, its
operator's account, lists the same, reads the envelopes alone, and writes nothing.

On a MinIO a grant is a policy of its own, attached to the account beside the one of its own folder.
The server attaches and detaches each without a look at the others, so that two administrators at
once take nothing from each other.

Two things these policies do not hold on MinIO. A request that forges a header `Prefix` lists any
name, as MinIO takes conditions from headers too; what it lists it still cannot read. And one with
the header `x-minio-force-delete` deletes objects of its own party with all their versions.
"""

from collections.abc import Iterable
from typing import Any

Policy = dict[str, Any]
"""A policy document, as JSON."""

_OWN = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
_ENVELOPES = ("*/*/envelope-*", "*/notice")
"""Below a sender and a recipient: `<name>/<sequence>/envelope-<sha256>`, and `<name>/notice`."""
_PRINCIPAL = "aws:principaltype"
_ACCOUNTS = ["admin:CreateServiceAccount", "admin:CreateUser", "admin:UpdateServiceAccount"]


def policy_of(bucket: str, party: str, peers: Iterable[str], reader: bool = False) -> Policy:
    """Write the whole policy of a party, or of its reader, to whom these peers may send."""
    inboxes = [f"{peer}/{party}/" for peer in sorted(set(peers))]
    reads = [_reads(bucket, inboxes, reader)] if inboxes else []
    lists = _lists(bucket, [f"{party}/", *inboxes])
    if reader:
        return _policy(_reads(bucket, [f"{party}/*/"], reader), *reads, lists)
    own = _statement("Allow", _OWN, [_arn(bucket, f"/{party}/*")])
    # to MinIO, who may delete may delete versions, unless told otherwise
    versions = _statement("Deny", ["s3:DeleteObjectVersion"], [_arn(bucket, "/*")])
    return _policy(own, *reads, lists, versions)


def account_policy(bucket: str, party: str, reader: bool = False) -> Policy:
    """Write the policy of a party's own folder on a MinIO.

    There an account may make others for itself, unless refused: they would outlive the change of a
    key that was stolen. It may change its own secret, too: a thief would lock the party out. So may
    it make sessions (STS), which live for up to seven days, and which nothing can refuse it: they
    may do nothing.
    """
    policy = policy_of(bucket, party, (), reader)
    policy["Statement"] += [_statement("Deny", _ACCOUNTS, [_arn("*")]), *_no_sessions()]
    return policy


def grant_policy(bucket: str, party: str, peer: str, reader: bool = False) -> Policy:
    """Write the policy by which a party, or its reader, reads what a peer sends to it."""
    inboxes = [f"{peer}/{party}/"]
    return _policy(_reads(bucket, inboxes, reader), _lists(bucket, inboxes))


def bucket_policy(bucket: str) -> Policy:
    """Write the policy of an account that has a bucket of a MinIO to itself, and nothing else."""
    large = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return _policy(
        _statement("Allow", [*_OWN, *large], [_arn(bucket, "/*")]),
        _statement("Allow", ["s3:ListBucket"], [_arn(bucket)]),
        _statement("Deny", _ACCOUNTS, [_arn("*")]),
    )


def _no_sessions() -> list[Policy]:
    # A header may stand for what the server knows (see above), but not in a variable. So a header
    # that says something else is refused, and so is a session, whoever says that it is one.
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
    # The first condition asks that there is a prefix. The second that there are no others: MinIO
    # takes a request with two prefixes, and lists one and checks the other.
    prefixes = {"s3:prefix": sorted(f"{folder}*" for folder in folders)}
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
