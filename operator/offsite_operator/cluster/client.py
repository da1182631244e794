"""A small client of the API server that works with dictionaries."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from offsite.apiversion import API_VERSION
from offsite_operator.labels import MANAGER, Object

_APPLY = "application/apply-patch+yaml"
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_PAGE = 500
_TIMEOUT = (5.0, 30.0)


class ApiError(Exception):
    """The API server refused, or does not answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """HTTP status; 0: no answer."""


@dataclass(frozen=True)
class Resource:
    """A resource type."""

    prefix: str
    plural: str


OFFSITE_JOBS = Resource(f"/apis/{API_VERSION}", "offsitejobs")
OFFSITE_PEERS = Resource(f"/apis/{API_VERSION}", "offsitepeers")
OFFSITE_APPROVALS = Resource(f"/apis/{API_VERSION}", "offsiteapprovals")
JOBS = Resource("/apis/batch/v1", "jobs")
RAY_JOBS = Resource("/apis/ray.io/v1", "rayjobs")
DEPLOYMENTS = Resource("/apis/apps/v1", "deployments")
CONFIG_MAPS = Resource("/api/v1", "configmaps")
PODS = Resource("/api/v1", "pods")
EVENTS = Resource("/api/v1", "events")


@dataclass(frozen=True)
class Api:
    """Client for one namespace. Thread-safe."""

    client: ApiClient
    namespace: str

    def list(self, resource: Resource, *, labels: str = "", fields: str = "") -> list[Object]:
        """List objects, page by page.

        Raises:
            ApiError: the server refused, or does not answer.
        """
        return list(self._pages(resource, labels, fields))

    def _pages(self, resource: Resource, labels: str, fields: str) -> Iterator[Object]:
        query = {"limit": str(_PAGE), "labelSelector": labels, "fieldSelector": fields}
        while True:
            page = json.loads(self._call("GET", self._path(resource), query))
            for item in page["items"]:
                # large, and unused here
                item["metadata"].pop("managedFields", None)
                yield item
            if not (following := page["metadata"].get("continue")):
                return
            query["continue"] = following

    def get(self, resource: Resource, name: str) -> Object | None:
        """Get an object; None: it does not exist.

        Raises:
            ApiError: As for `list`.
        """
        try:
            return self._object("GET", self._path(resource, name), {})
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, resource: Resource, body: Object) -> Object:
        """Create an object.

        Raises:
            ApiError: With code 409, an object of that name exists; else as for `list`.
        """
        return self._object("POST", self._path(resource), {"fieldManager": MANAGER}, body)

    def apply(self, resource: Resource, body: Object, part: str = "") -> Object:
        """Server-side apply our fields of an object; fields of other managers stay.

        Args:
            part: The subresource, such as `status`.

        Raises:
            ApiError: With code 409, the object's `resourceVersion` differs from the body's; else as
                for `list`.
        """
        query = {"fieldManager": MANAGER, "force": "true"}
        path = self._path(resource, body["metadata"]["name"], part)
        return self._object("PATCH", path, query, as_yaml(body), _APPLY)

    def delete(self, resource: Resource, name: str, uid: str) -> None:
        """Delete an object in the foreground, after its dependents. Succeeds if it is already gone.

        Raises:
            ApiError: As for `list`.
        """
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            self._call("DELETE", self._path(resource, name), {}, body)
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def log(self, pod: str, since: str, most: int) -> bytes:
        """Read the log of a pod's only container, with a timestamp on each line.

        Args:
            since: A timestamp from the log; empty: from the beginning.
            most: Limit in bytes.

        Raises:
            ApiError: With code 400, the container has not started; else as for `list`.
        """
        query = {"timestamps": "true", "limitBytes": str(most), "sinceTime": since}
        return self._call("GET", self._path(PODS, pod, "log"), query)

    def serves(self, resource: Resource) -> bool:
        """Return whether the cluster serves a resource type.

        Raises:
            ApiError: As for `list`.
        """
        try:
            found = self._object("GET", resource.prefix, {})
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return any(each["name"] == resource.plural for each in found["resources"])

    def _path(self, resource: Resource, *parts: str) -> str:
        names = (self.namespace, resource.plural, *(quote(part) for part in parts if part))
        return f"{resource.prefix}/namespaces/" + "/".join(names)

    def _object(self, *call: Any) -> Object:
        found: Object = json.loads(self._call(*call))
        return found

    def _call(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        given = [(key, value) for key, value in query.items() if value]
        request = self.client.param_serialize(
            method, path, {}, given, headers, body, auth_settings=["BearerToken"]
        )
        try:
            answer = self.client.call_api(*request, _request_timeout=_TIMEOUT)
            content: bytes = answer.read()
        except ApiException as error:
            raise ApiError(error.status or 0, str(error)) from error
        except HTTPError as error:
            raise ApiError(0, f"the API server does not answer: {error}") from error
        if not 200 <= answer.status < 300:
            raise ApiError(answer.status, _message(content))
        return content


def as_yaml(body: Object) -> bytes:
    """Serialize to JSON that is also valid YAML, whatever text it quotes.

    YAML has no surrogate escapes, which JSON uses for emoji. It breaks lines at characters where
    JSON does not, and forbids some characters.
    """
    return _NOT_IN_YAML.sub("\ufffd", json.dumps(body, ensure_ascii=False)).encode()


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:500].decode(errors="replace")
