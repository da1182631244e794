"""What a guess makes of text that knows how frequent each token is, and no context."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from offsite.modality.text.examples import TextExample
from offsite.modality.uncertainty import Floats


def unigram(examples: Sequence[TextExample], corpus: Sequence[TextExample]) -> Floats:
    """Compute the log-probability of each example's scored tokens, in nats, (N,).

    The probability of a token is its relative frequency in the corpus. Each token that occurs in
    the corpus or in the examples counts once more, so that none is impossible.
    """
    counts = Counter(token for each in corpus for token in each.tokens)
    scored = [each.tokens[each.start :] for each in examples]
    counts.update({token for tokens in scored for token in tokens} | counts.keys())
    whole = math.log(counts.total())
    logs = {token: math.log(count) - whole for token, count in counts.items()}
    return np.array([math.fsum(logs[t] for t in tokens) for tokens in scored])
