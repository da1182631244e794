"""Differential privacy: secret noise, the privacy budget, and the clipped gradients of units.

A *unit* is what is protected as a whole: one row, or all rows of a group, such as a patient. The
guarantee is (ε, δ)-differential privacy for adding or removing one unit: DP-SGD (Abadi et al. 2016,
arXiv 1607.00133). In each step, every unit is drawn with the same probability, its gradient is
clipped to a norm, and Gaussian noise is added to the sum. The number of units counts as public.

The gradients of units are computed with the formulas of Opacus, and ε by its PRV accountant. See
docs/decisions/0028-fast-gradient-clipping-without-ghost-norms.md for what the analysis assumes.
"""
