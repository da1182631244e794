"""The full model on the private data: what no real party can measure, and a rehearsal can."""

from functools import partial

import torch
from torch import nn

from offsite.api import Ends, Limits, Tune
from offsite.bundle import head_of
from offsite.events import Monitor
from offsite.layers import Loaded, batch_loss, family
from offsite.rows import DataFile
from offsite.stages.context import Trainer
from offsite.stages.tuning import Tuning, begin_tuning, steps_of, validations
from offsite.training.data import Shuffled
from offsite.training.evaluate import mean_loss
from offsite.training.parallel import Objective
from offsite.training.train import fit

_NONE = "sha256:" + "0" * 64


def probed(loaded: Loaded, job: Tune, texts: dict[str, DataFile], monitor: Monitor) -> Tuning:
    """Read the private data for the full model; a new head starts, in place, from a linear probe.

    Raises:
        DataError: the private data cannot be used.
    """
    row, config = family(loaded.model), loaded.model.config.to_dict()
    job = job.model_copy(update={"privacy": None})
    head = head_of(row, config)
    tuning = begin_tuning(loaded, job, Ends(), head, _NONE, texts, monitor)
    tuning.probe((), monitor)
    return tuning


def fine_tune(tuning: Tuning, learning_rate: float, trainer: Trainer) -> None:
    """Fine-tune a full model, in place, with the batches and steps of an adapter.

    The result is the upper bound of Offsite-Tuning. As of an adapter, the step with the smallest
    validation loss is kept.
    """
    loaded, training = tuning.loaded, tuning.job.training
    model, collate = loaded.model, loaded.modality.collate
    nn.Module.to(model, torch.float32)  # bfloat16 would round small updates away
    trained = dict(model.requires_grad_(True).named_parameters())
    examples = [example for unit in tuning.units for example in unit]
    batches = Shuffled(examples, collate, training.batch_size, trainer.seed)
    least = Limits().min_steps
    steps = steps_of(training, batches.steps_per_epoch, least)
    section = training.model_copy(update={"learning_rate": learning_rate})
    run = trainer.run(section, steps, **validations(steps, least))
    objective = Objective((model,), trained, partial(batch_loss, model, loaded.modality))

    def validate() -> float:
        return mean_loss(loaded, tuning.held_out, trainer.monitor)

    fit(objective, batches, run, phase="full fine-tuning", validate=validate)
