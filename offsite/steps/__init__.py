"""The steps of a stage that hold keys, and what they share with the training step. No torch.

A stage has three steps: Open (check the job; fetch, verify and decrypt the peer's bundle), Work
(train; see `stages`) and Publish (seal, sign, send).
"""

from offsite.steps.party import Party

__all__ = ["Party"]
