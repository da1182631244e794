"""`offsite exchange`: administer an exchange in a bucket of MinIO.

`OFFSITE_ADMIN_ENDPOINT`, `_CREDENTIALS` (a file), `_REGION` and `_CA` configure the server and the
administrator's account.
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
from offsite_cli.options import Format
from offsite_cli.output import Output, show_info, show_json, show_json_line, show_text

app = typer.Typer(
    name="exchange",
    help="Set up an exchange in S3: its bucket and its accounts.",
    no_args_is_help=True,
)

Bucket = Annotated[str, typer.Argument(help="Address of the exchange: s3://bucket.")]
Party = Annotated[str, typer.Argument(help="Id of the party that reads.")]
Peers = Annotated[
    list[str] | None, typer.Option("--from", help="Id of a party that sends. Repeatable.")
]


@app.command("init")
def init(bucket: Bucket) -> None:
    """Create or repair the bucket: versioning, and the expiry of old versions.

    You can run it again at any time.
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
        typer.Option(help="Folder to write the credentials of new accounts to, as PARTY.json."),
    ] = None,
    reader: Annotated[
        bool,
        typer.Option(
            "--reader",
            help="Also create an account for PARTY's operator, which may only read envelopes.",
        ),
    ] = False,
    reissue: Annotated[
        bool,
        typer.Option(
            "--reissue",
            help="Replace the secret key of PARTY's account, and with --reader that of its reader.",
        ),
    ] = False,
) -> None:
    """Let a party read what others send to it. Creates missing accounts.

    It works one way: for both ways, run it twice. If two administrators create an account at the
    same time, only the later credentials work; --reissue replaces them. On a store without MinIO's
    admin API, the command prints the policy for its administrator to set.
    """
    _require_party(peers, reissue or reader, "--reader or --reissue")
    admin = _admin(bucket)
    if reissue:
        _reissue(admin, party, credentials, reader)
    try:
        _grant(admin, party, peers or [], credentials)
        if reader and not reissue:
            _report_accounts(admin.add_reader(party, credentials))
    except NoAdminError as error:
        _print_policies(error, admin.store.bucket, party, peers or [], reader)


def _reissue(admin: ExchangeAdmin, party: str, credentials: Path | None, reader: bool) -> None:
    if credentials is None:
        raise InputError("--reissue needs --credentials, a folder to write the new credentials to")
    for each in (False, True) if reader else (False,):
        written = admin.reissue(party, credentials, each)
        whose = f"the reader of {party}" if each else party
        show_text(f"{written} contains the new credentials of {whose}; hand it over in private")


def _grant(admin: ExchangeAdmin, party: str, peers: list[str], credentials: Path | None) -> None:
    _report_accounts(*(path for peer in peers for path in admin.grant(party, peer, credentials)))
    if peers:
        show_text(f"{party} may read what {', '.join(peers)} sends to it")


def _report_accounts(*written: Path | None) -> None:
    for path in filter(None, written):
        show_text(f"{path} contains the credentials of a new account; hand it over in private")


def _print_policies(
    error: NoAdminError, bucket: str, party: str, peers: list[str], reader: bool
) -> None:
    prefix = f"{error}; the policy of"
    if peers:
        show_info(f"{prefix} {party}, with all that it may read:")
        show_json(policy_of(bucket, party, peers))
    if reader:
        show_info(f"{prefix} the reader of {party}, with all that it may read:")
        show_json(policy_of(bucket, party, peers, reader=True))


@app.command("revoke")
def revoke(
    bucket: Bucket,
    party: Party,
    peers: Peers = None,
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Remove PARTY's accounts, with all that they may read."),
    ] = False,
) -> None:
    """Stop a party from reading what others send to it. It keeps what it has already read."""
    _require_party(peers, remove, "--remove")
    admin = _admin(bucket)
    if peers:
        _revoke(admin, party, peers)
    if remove:
        if not admin.remove(party):
            show_info(f"{party} had no account")
        show_text(f"{party} no longer has an account; its bundles stay in {bucket}")


def _revoke(admin: ExchangeAdmin, party: str, peers: list[str]) -> None:
    try:
        for peer in peers:
            if not admin.revoke(party, peer):
                show_info(f"{party} could not read from {peer}")
    except NoAdminError as error:
        raise NoAdminError(
            f"{error}; remove {' and '.join(f'{p}/{party}/' for p in peers)} from the policy of "
            f"{party}"
        ) from error
    show_text(f"{party} may no longer read what {', '.join(peers)} sends to it")


def _require_party(peers: list[str] | None, other: bool, option: str) -> None:
    if not peers and not other:
        raise InputError(f"nothing to do: set --from to a party that sends, or use {option}")


@app.command("show")
def show(
    bucket: Bucket,
    output: Format = Output.TEXT,
) -> None:
    """Show the settings of the bucket, and who may read from whom."""
    admin = _admin(bucket)
    facts, accounts = admin.bucket(), admin.accounts()
    if output is Output.JSON:
        show_json_line(_document(bucket, facts, accounts))
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
        else "OLD VERSIONS DO NOT EXPIRE (run offsite exchange init)",
        "PUBLIC (remove the policy of the bucket)" if facts.public else "not public",
    ]


def _line(account: Account) -> str:
    peers = ", ".join(account.reads_from) or "nobody"
    reads = "reads envelopes from" if account.principal.reader else "reads from"
    remarks = [f"{reads} {peers}", account.status]
    if account.changed:
        remarks.append("POLICY CHANGED BY HAND (run offsite exchange grant again)")
    if account.other_policies:
        remarks.append(f"OTHER POLICIES: {', '.join(account.other_policies)}")
    return f"{account.principal} ({account.principal.name}): {'; '.join(remarks)}"
