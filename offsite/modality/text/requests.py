"""Encodes requests of lm-evaluation-harness to examples, as its models for transformers do.

The tokenizer may be a peer's. It may make few tokens of a text, or none; see `tokenizer.encoded`.
"""

from transformers import PreTrainedTokenizerBase

from offsite.modality.text.examples import TextExample, begin_token
from offsite.modality.text.tokenizer import encoded


def paired(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> TextExample:
    """Encode a context and a continuation, together, so that no token spans both by chance.

    Spaces at the end of the context belong to the continuation (`TemplateLM._encode_pair`).
    """
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    if not kept:
        return _alone(tokenizer, continuation)
    lead = begin_token(tokenizer)
    start = len(lead) + len(encoded(tokenizer, kept))
    tokens = (*lead, *encoded(tokenizer, kept + continuation))
    # a peer's tokenizer may make fewer tokens of both than of the context
    return TextExample(tokens, min(start, len(tokens)))


def rolled(tokenizer: PreTrainedTokenizerBase, text: str, length: int) -> list[TextExample]:
    """Encode a text in windows of at most `length` tokens that predict each of its tokens once.

    Every window but the first begins with the last token of the one before it. The last one is as
    long as the others: its context is longer (`lm_eval.utils.get_rolling_token_windows`).
    """
    tokens = [_prefix(tokenizer), *begin_token(tokenizer), *encoded(tokenizer, text)]
    room = length - 1
    windows = []
    for start in range(1, len(tokens), room):
        end = min(start + room, len(tokens))
        begin = max(0, end - length)
        windows.append(TextExample(tuple(tokens[begin:end]), start - begin))
    return windows


def _alone(tokenizer: PreTrainedTokenizerBase, continuation: str) -> TextExample:
    """Encode a continuation without a context: it follows the begin token."""
    tokens, prefix = encoded(tokenizer, continuation), _prefix(tokenizer)
    return TextExample(tuple(tokens if tokens[0] == prefix else [prefix, *tokens]))


def _prefix(tokenizer: PreTrainedTokenizerBase) -> int:
    """Find what a text follows: the begin token, or the end token of the text before it."""
    found = (tokenizer.bos_token_id, tokenizer.eos_token_id, 0)
    return next(int(each) for each in found if each is not None)
