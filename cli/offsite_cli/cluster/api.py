"""The API server, in plain JSON: a request each, and our errors."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.exceptions import ApiException

from offsite_cli.cluster.errors import ClusterError
from offsite_cli.cluster.facts import Resource
from offsite_cli.cluster.refusals import refusal, unreachable

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10.0, 60.0
_MERGE = "application/merge-patch+json"
_METADATA_ALONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Answer:
    """What the server said, and when, by its own clock."""

    content: Any
    date: str | None
    """The header `Date`."""


class Api:
    """One cluster, as one user, with the namespace that is meant.

    Every method raises `ClusterUnreachable`, `ClusterRefusal`, `ClusterError`, or `InputError` for
    what is not there or not valid.
    """

    def __init__(self, client: "ApiClient", namespace: str) -> None:
        self._client = client
        self.namespace = namespace
        client.configuration.retries = urllib3.Retry(2, backoff_factor=0.2)  # noqa: V101

    @property
    def host(self) -> str:
        """The server's URL."""
        return str(self._client.configuration.host)

    def path(self, group: str, kind: str, name: str = "") -> str:
        """Make the path of a kind in the namespace, or of one object of it.

        Args:
            group: `api/v1`, or `apis/GROUP/VERSION`.
            kind: the plural.
        """
        return _joined(group, "namespaces", self.namespace, kind, name)

    def get(self, path: str, **query: str) -> Any:
        """Get an object, or a list."""
        return self.answer(path, **query).content

    def answer(self, path: str, **query: str) -> Answer:
        """Get an object with the header of the answer."""
        return self._ask("GET", path, query)

    def metadata(self, path: str) -> Resource:
        """Get an object's metadata; its content does not leave the server."""
        return _object(self._ask("GET", path, accept=_METADATA_ALONE))

    def create(self, path: str, body: Resource, **query: str) -> Resource:
        """Create an object."""
        return _object(self._ask("POST", path, query, body))

    def patch(self, path: str, body: Resource) -> Resource:
        """Change an object, by JSON Merge Patch."""
        return _object(self._ask("PATCH", path, body=body, kind=_MERGE))

    def delete(self, path: str) -> None:
        """Delete an object, and what it owns in the background."""
        self._ask("DELETE", path, body={"propagationPolicy": "Background"})

    def lines(self, path: str, *, seconds: float, **query: str) -> Iterator[str]:
        """Read an answer line by line as it comes, such as a log or a watch.

        Args:
            seconds: with nothing said for so long, the connection counts as lost.
        """
        rest = b""
        with self._translated(path):
            response = self._request("GET", path, query, seconds=seconds)
            with closing(response):
                for chunk in response.stream(None, decode_content=False):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def _ask(self, method: str, path: str, *given: Any, **how: Any) -> Answer:
        with self._translated(path):
            response = self._request(method, path, *given, **how)
            return Answer(json.loads(response.data), response.headers.get("Date"))

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: Resource | None = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        seconds: float = _SECONDS_TO_ANSWER,
    ) -> urllib3.BaseHTTPResponse:
        full = f"{path}?{urlencode(query)}" if query else path
        headers = {"Accept": accept} | ({"Content-Type": kind} if body is not None else {})
        request = self._client.param_serialize(
            method, full, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        limits = (_SECONDS_TO_CONNECT, seconds)
        called = self._client.call_api(*request, _request_timeout=limits)
        response: urllib3.BaseHTTPResponse = called.response
        if not 200 <= response.status < 300:
            raise refusal(response.status, response.data, path)
        return response

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:  # TLS alone ends here; it has no status
            raise unreachable(self.host, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self.host, error) from error
        except json.JSONDecodeError as error:
            raise ClusterError(f"{self.host}{path} is no JSON; is it an API server?") from error


def _joined(*parts: str) -> str:
    """Join a path; the first part has slashes of its own."""
    first, *others = (part for part in parts if part)
    return "/".join(["", first, *(quote(part, safe="") for part in others)])


def _object(answer: Answer) -> Resource:
    found: Resource = answer.content
    return found
