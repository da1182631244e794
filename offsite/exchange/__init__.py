"""Exchanges sealed bundles through a store that neither party trusts. No torch."""

from offsite.exchange.audit import Auditor
from offsite.exchange.confirm import find_sent
from offsite.exchange.ledger import HomeLedger
from offsite.exchange.mailbox import Inbox, Mailbox, Reference, Sent
from offsite.exchange.notices import FailedJob, retract, send_notice
from offsite.exchange.receiving import EMULATOR_CHECKS, WHOLE, Checks, pull
from offsite.exchange.sending import Outgoing, push, withdraw

__all__ = [
    "EMULATOR_CHECKS",
    "WHOLE",
    "Auditor",
    "Checks",
    "FailedJob",
    "HomeLedger",
    "Inbox",
    "Mailbox",
    "Outgoing",
    "Reference",
    "Sent",
    "find_sent",
    "pull",
    "push",
    "retract",
    "send_notice",
    "withdraw",
]
