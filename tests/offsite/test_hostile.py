"""Hostile bytes are refused: a few thousand cases here, a million with `make fuzz`."""

import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offsite_testing.hostile import targets

NAMES = sorted(targets())
INNER = {name for name in NAMES if name.startswith(("adapter's", "emulator's", "image"))}
"""What checks of a bundle's content refuse: who opens it tells whom to ask for a sound one. Images
are a party's own."""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_sound_is_read(name: str) -> None:
    target = targets()[name]
    target.read(target.sound)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=2000, max_examples=400)
@given(random=st.randoms(use_true_random=False))
def test_what_is_spoiled_is_refused_or_read(name: str, random: Random) -> None:
    said = targets()[name].attack(random.randint)
    assert said is None or (said.isprintable() and (name in INNER or "ask " in said))


def test_nothing_reaches_torch_before_the_checks_have_passed() -> None:
    program = (
        "import random, sys; from offsite_testing.hostile import targets\n"
        "for target in targets().values(): target.attack(random.Random(1).randint)\n"
        "print({'torch', 'transformers', 'tokenizers'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", program]
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=path)
    assert done.stdout == "set()\n"
