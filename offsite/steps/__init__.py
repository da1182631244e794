"""The steps of a stage that hold keys, and what they share with the one that trains. No torch.

A stage is `open` (check what can be known before the work; fetch, verify and decrypt what the peer
sent), work (training; see `stages`) and `publish` (seal, sign, send).
"""

from offsite.steps.party import Party

__all__ = ["Party"]
