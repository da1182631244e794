"""`offsite demo`: two parties, three stages, one real model, on one machine."""


def demo() -> None:
    """Play both parties on this machine, with a real model and real text."""
