"""Modalities: what examples are made of, text or images.

A modality is one module behind one protocol, `Modality`. It reads rows, encodes them to examples,
collates examples into batches, computes the loss of each example, scores models, and loads and
saves the companion files of a model. The row of a model family names its modality.
The layers above know batches and hidden states; tokens, pixels and labels they do not know.

Shapes: B examples of T positions (tokens, or patches of an image), D hidden features.
"""

from collections.abc import Mapping

from offsite.modality.batch import IGNORED, Batch
from offsite.modality.contract import Encoded, Example, Modality, Public
from offsite.modality.images import Images
from offsite.modality.pretrained import LOCAL, is_panic
from offsite.modality.scores import Benchmark, Score
from offsite.modality.text import Text
from offsite.modality.uncertainty import Gain, Interval, Share, Skill

__all__ = [
    "IGNORED",
    "LOCAL",
    "MODALITIES",
    "Batch",
    "Benchmark",
    "Encoded",
    "Example",
    "Gain",
    "Images",
    "Interval",
    "Modality",
    "Public",
    "Score",
    "Share",
    "Skill",
    "Text",
    "is_panic",
]

MODALITIES: Mapping[str, type[Modality]] = {
    "text": Text,
    "images": Images,
}
"""Every modality, by the name that `Family.modality` has."""
