"""The supported families. To add one, add its row to `layer_norm`, `rms_norm` or `vision`."""

from offsite.families.layer_norm import LAYER_NORM
from offsite.families.rms_norm import RMS_NORM
from offsite.families.row import Family
from offsite.families.vision import VISION

FAMILIES: tuple[Family, ...] = (*LAYER_NORM, *RMS_NORM, *VISION)
