"""`offsite exchange`: what the administrator of an exchange on a MinIO does, by hand or by script.

`OFFSITE_ADMIN_ENDPOINT`, `_CREDENTIALS` (a file), `_REGION` and `_CA` say where and who.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from offsite.errors import InputError
from offsite.store.admin import Account, ExchangeAdmin
from offsite.store.admin_api import NoAdminError
from offsite.store.bucket import BucketFacts
from offsite.store.open import s3_store
from offsite.store.policies import policy_of
from offsite_cli.output import Output, show_event, show_info, show_json, show_text

app = typer.Typer(
    name="exchange",
    help="Set up an exchange in S3: its bucket and its accounts.",
    no_args_is_help=True,
)

Bucket = Annotated[str, typer.Argument(help="The exchange: s3://bucket.")]
Party = Annotated[str, typer.Argument(help="The party that reads: its id.")]
Peers = Annotated[
    list[str] | None, typer.Option("--from", help="A party that sends. Can be repeated.")
]


@app.command("init")
def init(bucket: Bucket) -> None:
    """Make the bucket, or mend it: its versions, and the rule by which old ones expire.

    It can be run again at any time.
    """
    _admin(bucket).prepare()
    show_text(f"{bucket} is ready")


@app.command("grant")
def grant(
    bucket: Bucket,
    party: Party,
    peers: Peers = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="A folder for the credentials of new accounts: PARTY.json each."),
    ] = None,
    reader: Annotated[
        bool,
        typer.Option(
            "--reader",
            help="Make an account for PARTY's operator, too: it reads envelopes, and no more.",
        ),
    ] = False,
    reissue: Annotated[
        bool,
        typer.Option(
            "--reissue",
            help="Give PARTY's account a new secret key, with --reader its reader's, too; "
            "the old one ends.",
        ),
    ] = False,
) -> None:
    """Let a party read what others send to it. An account that is missing is made.

    A grant is one way: for both, grant twice. Of two administrators who make one account at the
    same time, the later one's credentials count: --reissue makes others. Where the store has no
    admin API of MinIO, the policy is printed, for its administrator to set.
    """
    _refuse_nothing(peers, reissue or reader, "--reader or --reissue")
    admin = _admin(bucket)
    if reissue:
        _reissue(admin, party, credentials, reader)
    try:
        _grant(admin, party, peers or [], credentials)
        if reader and not reissue:
            _told(admin.add_reader(party, credentials))
    except NoAdminError as error:
        _print_policies(error, admin.store.bucket, party, peers or [], reader)


def _reissue(admin: ExchangeAdmin, party: str, credentials: Path | None, reader: bool) -> None:
    if credentials is None:
        raise InputError("name a folder for the new credentials: --credentials")
    for each in (False, True) if reader else (False,):
        written = admin.reissue(party, credentials, each)
        whose = f"the reader of {party}" if each else party
        show_text(f"{written} holds the new credentials of {whose}; hand it over in private")


def _grant(admin: ExchangeAdmin, party: str, peers: list[str], credentials: Path | None) -> None:
    _told(*(path for peer in peers for path in admin.grant(party, peer, credentials)))
    if peers:
        show_text(f"{party} may read what {', '.join(peers)} sends to it")


def _told(*written: Path | None) -> None:
    for path in filter(None, written):
        show_text(f"{path} holds the credentials of a new account; hand it over in private")


def _print_policies(
    error: NoAdminError, bucket: str, party: str, peers: list[str], reader: bool
) -> None:
    said = f"{error}; the policy of"
    if peers:
        show_info(f"{said} {party}, with all that it may read:")
        show_json(policy_of(bucket, party, peers))
    if reader:
        show_info(f"{said} the reader of {party}, with all that it may read:")
        show_json(policy_of(bucket, party, peers, reader=True))


@app.command("revoke")
def revoke(
    bucket: Bucket,
    party: Party,
    peers: Peers = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Remove PARTY's accounts, and all that they were granted."),
    ] = False,
) -> None:
    """Let a party read no more of what others send to it. What it read already it keeps."""
    _refuse_nothing(peers, remove, "--remove")
    admin = _admin(bucket)
    if peers:
        _revoke(admin, party, peers)
    if remove:
        if not admin.remove(party):
            show_info(f"{party} had no account")
        show_text(f"{party} has no account; what it sent stays in {bucket}")


def _revoke(admin: ExchangeAdmin, party: str, peers: list[str]) -> None:
    try:
        for peer in peers:
            if not admin.revoke(party, peer):
                show_info(f"{party} was not granted to read from {peer}")
    except NoAdminError as error:
        raise NoAdminError(
            f"{error}: take what begins with {' and '.join(f'{p}/{party}/' for p in peers)} out of "
            f"the policy of {party}"
        ) from error
    show_text(f"{party} may not read what {', '.join(peers)} sends to it")


def _refuse_nothing(peers: list[str] | None, other: bool, option: str) -> None:
    if not peers and not other:
        raise InputError(f"name a party that sends (--from), or say {option}")


@app.command("show")
def show(
    bucket: Bucket,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
) -> None:
    """Show how the bucket stands, and who may read from whom, as the server has it."""
    admin = _admin(bucket)
    facts, accounts = admin.bucket(), admin.accounts()
    if output is Output.JSON:
        show_event(_document(bucket, facts, accounts))
        return
    show_text(f"{bucket}: {', '.join(_described(facts))}")
    for account in accounts:
        show_text(_line(account))


def _admin(bucket: str) -> ExchangeAdmin:
    return ExchangeAdmin(s3_store(bucket, "OFFSITE_ADMIN", os.environ))


def _document(bucket: str, facts: BucketFacts, accounts: list[Account]) -> dict[str, object]:
    return {
        "exchange": bucket,
        "bucket": asdict(facts),
        "accounts": [
            {
                "party": account.principal.party,
                "account": account.principal.name,
                "reader": account.principal.reader,
                "status": account.status,
                "readsFrom": account.reads_from,
                "policyChanged": account.changed,
                "otherPolicies": account.other_policies,
            }
            for account in accounts
        ],
    }


def _described(facts: BucketFacts) -> list[str]:
    return [
        "versioned" if facts.versioned else "NOT VERSIONED (run offsite exchange init)",
        "old versions expire"
        if facts.expiring
        else "OLD VERSIONS STAY (run offsite exchange init)",
        "PUBLIC (remove the bucket's own policy)" if facts.public else "not public",
    ]


def _line(account: Account) -> str:
    peers = ", ".join(account.reads_from) or "nobody"
    reads = "reads envelopes from" if account.principal.reader else "reads from"
    remarks = [f"{reads} {peers}", account.status]
    if account.changed:
        remarks.append("POLICY CHANGED BY HAND (grant anew)")
    if account.other_policies:
        remarks.append(f"OTHER POLICIES: {', '.join(account.other_policies)}")
    return f"{account.principal} ({account.principal.name}): {'; '.join(remarks)}"
