"""What the layers above a modality see of it: batches, and their parts."""

from offsite.families.table import FAMILIES
from offsite.layers import example_losses
from offsite.modality import IGNORED, MODALITIES
from offsite_testing.core import input_ids, loaded, some_batch
from offsite_testing.tiny import tiny_model


def test_every_family_names_a_modality() -> None:
    assert {row.modality for row in FAMILIES} <= MODALITIES.keys()


def test_the_parts_of_a_batch_are_its_examples() -> None:
    batch = some_batch(rows=5)
    rows = [row for rank in range(3) for row in input_ids(batch.part(rank, 3)).tolist()]
    assert sorted(rows) == sorted(input_ids(batch).tolist())
    single = batch.part(4, len(batch))
    assert input_ids(single).tolist() == [input_ids(batch)[4].tolist()]


def test_a_worker_without_an_example_has_one_that_counts_for_nothing() -> None:
    batch, model = some_batch(rows=2), tiny_model("llama")
    nothing = batch.part(2, 3)
    assert len(nothing) == 1
    assert (nothing.targets == IGNORED).all()
    assert not nothing.mask.any()
    assert example_losses(model, loaded(model).modality, nothing).tolist() == [0.0]
