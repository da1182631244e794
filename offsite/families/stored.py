"""Maps the tensor names of checkpoints to those of a family."""

from collections.abc import Iterator
from dataclasses import dataclass

from offsite.families.modules import Config, Linear, Shape
from offsite.families.row import Family


@dataclass(frozen=True)
class Checkpoint:
    """The tensors that a checkpoint of one model may have."""

    family: Family
    config: Config
    """The config, as transformers completes it."""
    tensors: dict[str, Shape]
    """The required tensors, by their names in the family table."""
    tied: dict[str, str]
    """Tied heads, which are optional, and the tables that they repeat."""

    @classmethod
    def of(cls, family: Family, config: Config) -> "Checkpoint":
        """Describe the checkpoint of a model with this config."""
        table = f"{family.outer[0].name}.weight"
        tied = {f"{each.stored or each.name}.weight": table for each in _tied(family, config)}
        return cls(family, config, family.tensors(config), tied)

    def name(self, stored: str) -> str | None:
        """Return a stored tensor's name in the family table; None: it is a buffer, or ignored.

        The prefix of the base model may be missing, as in the first GPT-2 checkpoints, or doubled.
        Unknown names are returned unchanged.
        """
        for name in self._spellings(stored):
            if name in self.tensors or name in self.tied:
                return name
            if self._is_buffer(name):
                return None
        ignored = self.family.ignored
        return None if ignored is not None and ignored.fullmatch(stored) else stored

    def _is_buffer(self, name: str) -> bool:
        split, depth = self.family.block_of(name), self.family.count(self.config)
        return split is not None and split[0] < depth and split[1] in self.family.buffers

    def _spellings(self, stored: str) -> Iterator[str]:
        base, name = f"{self.family.base}.", self.family.current_name(stored)
        for spelt in (name, f"{base}{name}", name.removeprefix(base)):
            yield self.family.stored_name(spelt)


def _tied(family: Family, config: Config) -> list[Linear]:
    tied = [each for each in family.outer if isinstance(each, Linear) and each.tied]
    return tied if tied and family.complete(config)["tie_word_embeddings"] else []
