"""The model owner's own model, as its stages open it."""

from pathlib import Path

from offsite.errors import ModelError
from offsite.layers import Loaded, load


def load_own(folder: Path) -> Loaded:
    """Load the full model, and check that its tokenizer is its own.

    Raises:
        UnknownFamilyError: the architecture has no row in the family table.
        ModelError: there is no model, or it is damaged, or its tokenizer is that of another.
    """
    loaded = load(folder)
    highest = max(loaded.tokenizer.get_vocab().values(), default=-1)
    known = loaded.model.get_input_embeddings().get_parameter("weight").shape[0]
    if highest >= known:
        raise ModelError(
            f"the tokenizer in {folder} makes the id {highest}, but the model knows {known} "
            "tokens only; put the model's own tokenizer there"
        )
    return loaded
