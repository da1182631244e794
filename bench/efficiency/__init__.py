"""`make bench-efficiency`: table 6 of the paper: what a data owner saves by offsite tuning.

Xiao, Lin, Han 2023 (arXiv 2302.04870), section 5.5: full fine-tuning, LoRA in the full model,
offsite tuning, and offsite tuning with LoRA. Speed and memory do not depend on what the weights
are, so all models are random.
"""
