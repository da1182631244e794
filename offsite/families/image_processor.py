"""Checks preprocessor_config.json: how a model reads an image.

Whatever the image, its pixels must come out in the one size that the model reads: a failure for
some images only would reveal something about the private data.
"""

from collections.abc import Mapping
from typing import Any

from offsite.families import kinds
from offsite.families.kinds import Kind, problems
from offsite.families.modules import Config
from offsite.families.row import Family

MAX_SIDE = 1024
"""The largest side of an image that a model reads, in pixels."""
MAX_PATCHES = 4096
"""The most patches of an image that is cut into patches before the model reads it."""

_SQUARE = ("Beit", "Bit", "CLIP", "Siglip", "ViT")
_FLAT = "Siglip2"
"""The one that cuts an image into patches, and keeps the ratio of its sides."""
PROCESSOR_CLASSES = frozenset(
    f"{name}ImageProcessor{suffix}" for name in (*_SQUARE, _FLAT) for suffix in ("", "Fast", "Pil")
)

_SIDE = kinds.ints(1, MAX_SIDE)


def _sizes(*keys: frozenset[str]) -> Kind:
    return Kind(
        f"a table with {' or '.join(' and '.join(sorted(each)) for each in keys)}, "
        f"each {_SIDE.meaning}",
        lambda v: isinstance(v, dict) and set(v) in keys and all(map(_SIDE.test, v.values())),
    )


def _colours(low: float, high: float) -> Kind:
    number = kinds.numbers(low, high)
    return Kind(
        f"a list of three numbers from {low:g} to {high:g}",
        lambda v: isinstance(v, list) and len(v) == 3 and all(map(number.test, v)),
    )


_BOTH, _SHORTEST = frozenset({"height", "width"}), frozenset({"shortest_edge"})
PROCESSOR_KEYS: Mapping[str, Kind] = {
    "image_processor_type": kinds.among(PROCESSOR_CLASSES),
    "size": _sizes(_BOTH, _SHORTEST),
    "crop_size": _sizes(_BOTH),
    "resample": kinds.ints(0, 5),
    "rescale_factor": kinds.numbers(1e-6, 1),
    "image_mean": _colours(-10, 10),
    "image_std": _colours(1e-3, 10),
    # what stacking images of one size relies on
    **dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), kinds.YES),
    **dict.fromkeys(("do_center_crop", "do_convert_rgb", "default_to_square"), kinds.BOOL),
    "do_pad": kinds.NO,
    # of segmentation maps, which a classifier has none of
    "do_reduce_labels": kinds.BOOL,
    "patch_size": kinds.ints(1, MAX_SIDE),
    "max_num_patches": kinds.ints(1, MAX_PATCHES),
}
"""The allowed keys of preprocessor_config.json, and the kind of each value."""
_NEEDED = ("image_processor_type", "do_resize", "do_rescale", "do_normalize")


def image_processor_problems(
    processor: Mapping[str, Any], family: Family, config: Config
) -> list[str]:
    """List all problems of a preprocessor_config.json, each with the path of its key.

    Args:
        family: Of the model.
        config: The model's config.json, which has passed its own check.
    """
    missing = [f"{key}: is missing" for key in _NEEDED if key not in processor]
    found = missing + problems(processor, PROCESSOR_KEYS)
    # the remaining checks compute with the values, so these must be valid
    return found or _fit_problems(processor, family, config)


def _fit_problems(processor: Mapping[str, Any], family: Family, config: Config) -> list[str]:
    sizes = family.sizes(config)
    flat = family.resolution == "patches"
    if flat != processor["image_processor_type"].startswith(_FLAT):
        return [f"image_processor_type: is not the class for {family.architecture}"]
    if flat:
        return _patch_problems(processor, sizes["K"])
    side = output_size(processor)
    if side is None:
        return ["size: needs height and width; a shortest_edge needs a crop_size as well"]
    if min(side) < sizes["K"]:
        return [f"size: {side[0]} by {side[1]} pixels are less than a patch of {sizes['K']}"]
    wanted = family.complete(config)["image_size"]
    if family.resolution == "fixed" and side != (wanted, wanted):
        return [f"size: must give {wanted} by {wanted} pixels, not {side[0]} by {side[1]}"]
    return []


def _patch_problems(processor: Mapping[str, Any], patch: int) -> list[str]:
    missing = [f"{k}: is missing" for k in ("patch_size", "max_num_patches") if k not in processor]
    if missing or processor["patch_size"] == patch:
        return missing
    return [f"patch_size: must be {patch}, as in config.json"]


def output_size(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width of what a model reads; None: they differ by image."""
    size = processor.get("crop_size" if processor.get("do_center_crop") else "size", {})
    return (size["height"], size["width"]) if "height" in size else None
