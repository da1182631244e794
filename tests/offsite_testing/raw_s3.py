"""Signed requests to an S3 store that no SDK would send: odd paths, queries and headers.

The SDK's signer puts a query in order; so the signature (AWS's version 4) is made here.
"""

import hashlib
import hmac
import http.client
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree

from offsite.store.s3 import S3Store


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: str

    @property
    def done(self) -> bool:
        """Whether the store did it."""
        return 200 <= self.status < 300


def ask(
    store: S3Store,
    method: str,
    path: str = "",
    query: str = "",
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request below a bucket, its path and query exactly as they are, signed rightly."""
    return ask_server(store, method, f"/{store.bucket}{path}", query, body=body, headers=headers)


def ask_server(
    store: S3Store,
    method: str,
    path: str,
    query: str = "",
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    service: str = "s3",
) -> Answer:
    """Send a request to the server itself."""
    known = {
        "host": urlsplit(store.endpoint).netloc,
        "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ"),
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        **{name.lower(): value for name, value in (headers or {}).items()},
    }
    known["authorization"] = _signature(store, method, path, query, known, service)
    known["content-length"] = str(len(body))
    answer = _sent(method, f"{path}?{query}" if query else path, body, known)
    assert "SignatureDoesNotMatch" not in answer.body, f"{method} {path} {query}: wrong signature"
    return answer


def assume_role(store: S3Store) -> Answer:
    """Ask for a session (STS) of an account, for the longest time that there is."""
    form = b"Action=AssumeRole&Version=2011-06-15&DurationSeconds=604800"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return ask_server(store, "POST", "/", body=form, headers=headers, service="sts")


def in_session(
    store: S3Store,
    session: Answer,
    method: str,
    path: str = "",
    query: str = "",
    *,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request below a bucket in a session."""
    said = ElementTree.fromstring(session.body)
    access, secret, token = (
        str(said.findtext(f".//{{*}}{name}"))
        for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
    )
    as_session = replace(store, access_key=access, secret_key=secret)
    return ask(
        as_session, method, path, query, headers={**(headers or {}), "x-amz-security-token": token}
    )


def _signature(
    store: S3Store, method: str, path: str, query: str, headers: Mapping[str, str], service: str
) -> str:
    names, when = sorted(headers), headers["x-amz-date"]
    # the server signs what it understood: the path anew, the query by its keys
    ordered = sorted(query.split("&"), key=lambda each: each.partition("=")[0])
    lines = [method, quote(unquote(path), safe="/~"), "&".join(ordered)]
    lines += [f"{name}:{headers[name]}" for name in names]
    lines += ["", ";".join(names), headers["x-amz-content-sha256"]]
    scope = [when[:8], store.region, service, "aws4_request"]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{store.secret_key}".encode()
    for part in [*scope, "\n".join(["AWS4-HMAC-SHA256", when, "/".join(scope), digest])]:
        key = hmac.digest(key, part.encode(), "sha256")
    who = "/".join([store.access_key, *scope])
    return (
        f"AWS4-HMAC-SHA256 Credential={who}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
    )


def _sent(method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(headers["host"], timeout=30)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    finally:
        connection.close()


def escaped(text: str) -> str:
    """Write a value of a query."""
    return quote(text, safe="")
