"""Train a tiny model for a few steps with Ray Train, and say whether the loss fell."""

import tempfile
from pathlib import Path

import ray.train
import torch
from ray.train import Checkpoint, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

_STEPS = 20


def step() -> None:
    """Fit a line, as every worker does."""
    torch.manual_seed(0)
    model = ray.train.torch.prepare_model(torch.nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(64, 4)
    wanted = inputs.sum(1, keepdim=True)
    for _ in range(_STEPS):
        loss = torch.nn.functional.mse_loss(model(inputs), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with tempfile.TemporaryDirectory() as folder:
        torch.save(model.state_dict(), Path(folder) / "model.pt")
        ray.train.report({"loss": float(loss)}, checkpoint=Checkpoint.from_directory(folder))


if __name__ == "__main__":
    trainer = TorchTrainer(
        step,
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(storage_path="/tmp/ray-train"),
    )
    last = trainer.fit().metrics
    assert last is not None
    assert last["loss"] < 0.1, last
    print("the loss fell")
