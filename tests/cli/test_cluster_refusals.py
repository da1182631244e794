"""Each refusal of the API server says what and what to do, and has its exit code."""

import json
from typing import Any

import pytest
import urllib3

from offsite_cli.cluster.connection import retry_while_unavailable
from offsite_cli.cluster.errors import (
    AlreadyExists,
    ClusterError,
    connection_error,
    error_from_response,
)

PATH = "/apis/offsite-tuning.dev/v1alpha1/namespaces/lab/offsitejobs"


def status(message: str, **more: Any) -> bytes:
    """Make the body that Kubernetes answers with."""
    return json.dumps({"kind": "Status", "message": message, **more}).encode()


@pytest.mark.parametrize(
    ("code", "body", "exit_code", "words"),
    [
        (401, status("Unauthorized"), 4, "credentials"),
        (403, status('User "system:anonymous" cannot get'), 4, "credentials"),
        (403, status('User "ann" cannot create'), 4, "offsite-edit"),
        (403, status("exceeded quota: few"), 4, "ResourceQuota"),
        (
            403,
            status("being terminated", details={"causes": [{"reason": "NamespaceTerminating"}]}),
            4,
            "gone",
        ),
        (404, status('offsitejobs "x" not found'), 2, '"x" not found'),
        (404, b"404 page not found\n", 2, "offsite-crds"),
        (409, status("the object has been modified", reason="Conflict"), 1, "has been modified"),
        (
            422,
            status(
                "invalid",
                details={
                    "kind": "OffsiteJob",
                    "name": "x",
                    "causes": [{"field": "spec.peer", "message": "Invalid value: no label"}],
                },
            ),
            2,
            "spec.peer: Invalid value: no label",
        ),
        (400, status("strict decoding error: unknown field"), 2, "unknown field"),
        (500, status("etcdserver: timeout"), 1, "etcdserver: timeout"),
        (502, b"<html>Bad Gateway</html>", 1, "Bad Gateway"),
        (503, b"\xff", 1, "503"),
    ],
)
def test_a_refusal_names_the_remedy(code: int, body: bytes, exit_code: int, words: str) -> None:
    error = error_from_response(code, body, PATH)
    assert error.exit_code == exit_code
    assert words in str(error)


def test_what_is_there_already_is_told_apart() -> None:
    assert isinstance(
        error_from_response(409, status("is there", reason="AlreadyExists"), PATH), AlreadyExists
    )


@pytest.mark.parametrize("code", [429, 500, 503])
def test_who_follows_lives_through_a_server_that_cannot_now(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("offsite_cli.cluster.connection._PAUSE", 0.0)
    answers = [error_from_response(code, status("etcdserver: leader changed"), PATH)] * 2

    def ask(name: str) -> str:
        if answers:
            raise answers.pop()
        return name

    assert retry_while_unavailable(ask, "job") == "job"
    assert capsys.readouterr().err.count("etcdserver: leader changed") == 1
    with pytest.raises(ClusterError):
        retry_while_unavailable(
            lambda: (_ for _ in ()).throw(error_from_response(409, status("conflict"), PATH))
        )


def test_nobody_answering_is_no_traceback() -> None:
    pool = urllib3.PoolManager(retries=urllib3.Retry(0))
    with pytest.raises(urllib3.exceptions.HTTPError) as caught:
        pool.request("GET", "http://127.0.0.1:9/")
    error = connection_error("https://cluster", caught.value)
    assert error.exit_code == 4
    assert "https://cluster: " in str(error)
    assert "refused" in str(error)
    assert "object at 0x" not in str(error)
