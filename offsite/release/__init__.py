"""The egress gate: audits of an adapter before it is sealed. No torch.

`gate.check_release` takes what was measured, computes the figures, reports them as metrics, and
refuses an adapter whose figures are not allowed. The step that publishes compares the figures again
(`verdict`); it has no scipy, which `statistics` and `gate` need.
"""
