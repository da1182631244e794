"""The supported families. To add one, add its row to `layer_norm` or `rms_norm`."""

from offsite.families.layer_norm import LAYER_NORM
from offsite.families.rms_norm import RMS_NORM
from offsite.families.row import Family

FAMILIES: tuple[Family, ...] = (*LAYER_NORM, *RMS_NORM)
