"""The memory that a stage has, and whether what it needs fits."""

from dataclasses import dataclass

from offsite.api import JobSpec
from offsite.sizing.amounts import amount_of, bytes_of
from offsite.sizing.phase import Needs

REQUEST = "resources.memoryPerWorker"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The memory of one worker."""

    memory: int
    """Bytes."""
    what: str
    """Names it in messages, such as `resources.memoryPerWorker`."""
    device: int | None = None
    """Bytes of one GPU; None: there is none, or its size is not known."""
    gpu: bool = False

    @classmethod
    def requested(cls, spec: JobSpec) -> "Limit":
        """Return the limit of the pods that a job asks for. The size of their GPUs is not known."""
        asked = spec.resources
        memory = bytes_of(asked.memory_per_worker)
        return cls(memory=memory, what=f"spec.{REQUEST}", gpu=asked.gpus_per_worker > 0)

    def fits(self, needs: Needs) -> bool:
        """Return whether what a stage needs fits."""
        return needs.peak <= self.memory and (
            self.device is None or needs.device_peak <= self.device
        )

    def verdict(self, needs: Needs) -> str:
        """Say what is needed and what there is."""
        largest = needs.largest
        if self.device is not None and largest.device_peak > self.device:
            need, has = f"{amount_of(largest.device_peak)} of GPU memory", amount_of(self.device)
        else:
            need, has = f"{amount_of(needs.peak)} of memory", f"{amount_of(self.memory)}"
        word = "fits into" if self.fits(needs) else "does not fit into"
        return f"needs about {need} ({largest.name}), which {word} the {has} of {self.what}"
