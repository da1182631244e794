"""Two parties on one machine, all three stages, from Python.

    python examples/python_api.py

A lab has a model, here a tiny one with random weights that is made on the spot. A hospital has
private text. In real use each party runs its own part, on its own machine.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import offsite

PUBLIC = "the quick brown fox jumps over the lazy dog. " * 200
# used as private text: the documentation of Python's strings
NOTES = [method.__doc__ for method in vars(str).values() if method.__doc__]


def make_model(folder: Path) -> None:
    """Save a Llama with six blocks and a byte-level tokenizer, as `save_pretrained` writes them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # noqa: V101
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([PUBLIC], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def main(root: Path) -> offsite.Result:
    """Run all three stages below a folder; return the tuned model."""
    make_model(root / "model")
    (root / "public.txt").write_text(PUBLIC, encoding="utf-8")
    rows = [json.dumps({"text": note}) for note in NOTES]
    (root / "private.jsonl").write_text("\n".join(rows), encoding="utf-8")

    # once: each party creates its keys and pins the other's; compare the fingerprints by telephone
    lab = offsite.Home(root / "lab", exchange=root / "exchange")
    hospital = offsite.Home(root / "hospital", exchange=root / "exchange")
    lab.create_keys("lab")
    hospital.create_keys("hospital")
    assert lab.add_peer(hospital.export_keys()) == hospital.fingerprint
    assert hospital.add_peer(lab.export_keys()) == lab.fingerprint

    # the lab: an emulator that keeps two of the four middle blocks
    emulator = offsite.distill(
        "emulator",
        home=lab,
        peer="hospital",
        model="model",
        ends=offsite.Ends(bottom=1, top=1),
        emulator=offsite.LayerDrop(blocks=2, calibration="public.txt"),
        base=root,  # relative paths are relative to it
    )
    print(f"emulator: {emulator.size} bytes, {emulator.digest}")

    # the hospital: an adapter, tuned on its private text
    adapter = offsite.tune(
        "adapter",
        home=hospital,
        peer="lab",
        bundle="emulator",
        data=offsite.Data(train="private.jsonl", validation="private.jsonl"),
        training=offsite.TuneTraining(steps=16, batch_size=4, block_size=64),
        base=root,
    )
    print(f"adapter: {adapter.size} bytes, perplexity {adapter.metrics['emulator_tuned'].value}")

    # the lab: the full model with the adapter
    model = offsite.plug_in(
        "model", home=lab, peer="hospital", model="model", adapter="adapter", base=root
    )
    print(f"tuned model: {model.path}")
    return model


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(folder))
