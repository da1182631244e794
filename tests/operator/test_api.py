"""What is sent to the API server."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from offsite_operator.cluster.client import as_yaml


@given(st.text())
@pytest.mark.filterwarnings("ignore")
def test_a_message_survives_yaml(message: str) -> None:
    sent = as_yaml({"status": {"message": message}})
    told = YAML(typ="safe", pure=True).load(sent.decode())["status"]["message"]
    assert len(told) == len(message)
    assert json.loads(sent)["status"]["message"] == told


@pytest.mark.parametrize("message", ["\U0001f600", "\ud83d", "\x1b[31m", "\x7f", "\u2028", "é"])
def test_text_goes_as_it_is_if_it_can(message: str) -> None:
    told = json.loads(as_yaml({"message": message}))["message"]
    assert told == message or message in ("\ud83d", "\x7f", "\u2028")
