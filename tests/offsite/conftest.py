"""How the core's tests compute."""

import torch

# Tiny models on several threads wait for each other longer than they compute.
torch.set_num_threads(1)
