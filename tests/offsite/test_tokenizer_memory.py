"""The largest tokenizers that may come are checked, and loaded, in little memory.

`Open` checks them in a pod of 1 GiB. Training loads them, beside its model and its data.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from offsite.bundle.companions import read_json
from offsite.errors import BundleError
from offsite.families import tokenizer_file_problems
from offsite_testing.largest import KEYS, MARKS, MODELS, SIZE, TEXTS, unigram, write
from offsite_testing.tokenizers import added, byte_level, edited

_PEAK = """
import os, sys
from pathlib import Path
{imports}

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) // 1024

before, folder = peak(), Path(sys.argv[1])
{measured}
print(before, peak(), flush=True)
os._exit(0)
"""
_CHECK = _PEAK.format(
    imports="from offsite.bundle.companions import read_json\nfrom offsite.families import "
    "tokenizer_file_problems",
    measured="found = tokenizer_file_problems(read_json(folder / 'tokenizer.json'), "
    "1 << 24)\nassert sys.argv[2] == 'any' or not found, found",
)
_LOAD = _PEAK.format(
    imports="from offsite.families import FAMILIES\n"
    "from offsite.modality.text.tokenizer import load_tokenizer",
    measured="load_tokenizer(folder, folder, FAMILIES[0], 1 << 24)",
)


def measured(program: str, folder: Path, *more: str) -> tuple[int, int]:
    """Run a program in a process of its own; give its MiB before, and the most that it took."""
    command = [sys.executable, "-c", program, str(folder), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, peak = map(int, done.stdout.split()[-2:])
    return before, peak


@pytest.mark.parametrize("name", [*MODELS, *TEXTS])
def test_the_largest_file_is_checked_in_half_of_the_pods_memory(name: str, tmp_path: Path) -> None:
    path = write(name, tmp_path)
    assert path.stat().st_size <= SIZE
    _, peak = measured(_CHECK, tmp_path, "any" if name in TEXTS else "all")
    assert peak < 640


@pytest.mark.parametrize("name", MODELS)
def test_the_largest_tokenizer_loads_in_less_than_a_gibibyte(name: str, tmp_path: Path) -> None:
    write(name, tmp_path)
    before, peak = measured(_LOAD, tmp_path)
    assert peak - before < 1024


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[" + "0," * (MARKS - 3) + "0]", None),
        ("[" + "0," * MARKS + "0]", "holds too much: more than 3000000 values and keys"),
        ("[" + "{}," * (MARKS // 2) + "0]", "holds too much"),
        ('{"' + "a:" * (KEYS - 2) + '":0}', None),
        ('{"' + "a:" * KEYS + '":0}', "or 1000000 keys"),
        ('"' + "a" * SIZE + '"', "is larger than 41943040 bytes"),
        ("\ufeff{}", "is not JSON"),
    ],
    ids=["values", "more values", "objects", "keys", "more keys", "bytes", "byte order mark"],
)
def test_what_would_take_more_is_not_read(body: str, said: str | None, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(f'{{"a":{body}}}' if body[0] != "\ufeff" else body, encoding="utf-8")
    if said is None:
        assert read_json(path)
    else:
        with pytest.raises(BundleError, match=said):
            read_json(path)


def test_pieces_that_make_a_larger_trie_are_refused() -> None:
    assert tokenizer_file_problems(unigram(), 1 << 24) == []
    more = "model.vocab: the pieces have more than 2000000 distinct prefixes"
    assert tokenizer_file_problems(unigram(2_040_000), 1 << 24) == [more]


def test_pieces_that_share_their_beginnings_count_once() -> None:
    vocab = [["<unk>", 0.0], *(["a" * 100 + f"{n:06}", -1.0] for n in range(100_000))]
    file = edited(unigram(100_000), "model", "vocab", to=vocab)
    assert len(json.dumps(vocab)) > 10_000_000
    assert tokenizer_file_problems(file, 1 << 24) == []


def test_added_tokens_have_few_bytes_in_all() -> None:
    tokens = [*byte_level()["added_tokens"], *(added(f"{n:0256}", 280 + n) for n in range(2049))]
    found = tokenizer_file_problems({**byte_level(), "added_tokens": tokens}, 1 << 24)
    assert found == ["added_tokens: must have at most 524288 bytes in total"]
