"""Jobs of the three stages, on what an organization of the tests has."""

from typing import Any

from cluster.organizations import IMAGES, MODEL, ROWS, TEXT, VISION

Spec = dict[str, Any]
NEEDS: Spec = {"cpusPerWorker": 1, "memoryPerWorker": "1Gi"}
"""What a pod that trains gets."""
_MORE = NEEDS | {"memoryPerWorker": "1536Mi"}


def distill(*, steps: int = 0, **more: Any) -> Spec:
    """Describe a job that makes an emulator, and trains it if it has steps."""
    made: Spec = {
        "model": MODEL,
        "ends": {"bottom": 1, "top": 1},
        "emulator": {"blocks": 2, "heal": False},
    }
    if steps:
        made["training"] = {"corpus": TEXT, **_training(steps)}
    return _job("Distill", "hospital", {"distill": made}, **more)


def tune(bundle: str, *, steps: int, **more: Any) -> Spec:
    """Describe a job that tunes an adapter in an emulator that was sent."""
    tuned = {"bundle": bundle, "data": {"train": TEXT, "validation": TEXT}}
    return _job("Tune", "lab", {"tune": {**tuned, "training": _training(steps)}}, **more)


def tune_privately(bundle: str, *, steps: int, **more: Any) -> Spec:
    """Describe a job that tunes an adapter with differential privacy for each patient."""
    made = tune(bundle, steps=steps, resources=_MORE, **more)
    made["tune"]["data"]["train"] = ROWS
    made["tune"]["privacy"] = {"epsilon": 8, "unit": {"group": "patient"}}
    return made


def distill_vision() -> Spec:
    """Describe a job that makes an emulator of a model of images, healed and trained on images."""
    images, training = f"{IMAGES}/public/", {"steps": 2, "batchSize": 2}
    made: Spec = {
        "model": VISION,
        "ends": {"bottom": 1, "top": 1},
        "emulator": {"blocks": 2, "calibration": images},
        "training": {"corpus": images, **training},
    }
    return _job("Distill", "hospital", {"distill": made}, resources=_MORE)


def tune_on_images(bundle: str) -> Spec:
    """Describe a job that tunes an adapter with a new head on labelled images."""
    data = {each: f"{IMAGES}/{each}/" for each in ("train", "validation")}
    tuned = {"bundle": bundle, "data": data, "training": {"steps": 4, "batchSize": 4}}
    return _job("Tune", "lab", {"tune": tuned}, resources=_MORE)


def plug_in_vision(adapter: str) -> Spec:
    """Describe a job that plugs in an adapter of a model of images."""
    plugged = {"model": VISION, "adapter": adapter, "evaluate": f"{IMAGES}/validation/"}
    return _job("PlugIn", "hospital", {"plugIn": plugged}, resources=_MORE)


def plug_in(adapter: str, **more: Any) -> Spec:
    """Describe a job that plugs in an adapter that was sent."""
    plugged = {"model": MODEL, "adapter": adapter, "evaluate": TEXT}
    return _job("PlugIn", "hospital", {"plugIn": plugged}, **more)


def _training(steps: int) -> Spec:
    return {"steps": steps, "batchSize": 2, "blockSize": 16}


def _job(stage: str, peer: str, section: Spec, engine: str = "Job", **more: Any) -> Spec:
    common = {"stage": stage, "peer": peer, "resources": NEEDS, "runtime": {"engine": engine}}
    return common | section | more
