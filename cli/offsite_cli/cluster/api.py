"""Send requests to the API server in plain JSON, and translate its errors."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.exceptions import ApiException

from offsite_cli.cluster.errors import ClusterError, connection_error, error_from_response
from offsite_cli.cluster.job_status import Resource

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_SECONDS_TO_CONNECT, _SECONDS_TO_ANSWER = 10.0, 60.0
_MERGE = "application/merge-patch+json"
_METADATA_ALONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class Answer:
    """The content of a response, and the server's time."""

    content: Any
    date: str | None
    """The `Date` header."""


class Api:
    """A client for one cluster, as one user, with a default namespace.

    Every method raises `ClusterUnreachable`, `ClusterForbidden` or another `ClusterError`, and
    `InputError` for an object that does not exist or is not valid.
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
        """Return the path of a kind in the namespace, or of one object.

        Args:
            group: `api/v1`, or `apis/GROUP/VERSION`.
            kind: the plural.
        """
        return _join(group, "namespaces", self.namespace, kind, name)

    def get(self, path: str, **query: str) -> Any:
        """Get an object, or a list."""
        return self.answer(path, **query).content

    def answer(self, path: str, **query: str) -> Answer:
        """Get an object with the date of the response."""
        return self._send("GET", path, query)

    def metadata(self, path: str) -> Resource:
        """Get only the metadata of an object; its content does not leave the server."""
        return _object(self._send("GET", path, accept=_METADATA_ALONE))

    def create(self, path: str, body: Resource, **query: str) -> Resource:
        """Create an object."""
        return _object(self._send("POST", path, query, body))

    def patch(self, path: str, body: Resource) -> Resource:
        """Change an object by a JSON merge patch."""
        return _object(self._send("PATCH", path, body=body, kind=_MERGE))

    def delete(self, path: str) -> None:
        """Delete an object, and in the background the objects that it owns."""
        self._send("DELETE", path, body={"propagationPolicy": "Background"})

    def lines(self, path: str, *, seconds: float, **query: str) -> Iterator[str]:
        """Stream a response line by line, such as a log or a watch.

        Args:
            seconds: the connection counts as lost after this time without data.
        """
        rest = b""
        with self._translate_errors(path):
            response = self._request("GET", path, query, seconds=seconds)
            with closing(response):
                for chunk in response.stream(None, decode_content=False):
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def _send(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        with self._translate_errors(path):
            response = self._request(method, path, *args, **kwargs)
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
            raise error_from_response(response.status, response.data, path)
        return response

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except ApiException as error:  # only TLS errors end here; they have no status
            raise connection_error(self.host, error) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise connection_error(self.host, error) from error
        except json.JSONDecodeError as error:
            raise ClusterError(
                f"{self.host}{path} did not answer in JSON; is it a Kubernetes API server?"
            ) from error


def _join(*parts: str) -> str:
    """Join a path, of which only the first part may contain slashes."""
    first, *others = (part for part in parts if part)
    return "/".join(["", first, *(quote(part, safe="") for part in others)])


def _object(answer: Answer) -> Resource:
    found: Resource = answer.content
    return found
