"""MinIO's admin API through the SDK: its answers as JSON, its refusals as our errors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from offsite.errors import NotAllowedError, OffsiteError, StorageError
from offsite.store.refusals import WRONG_KEYS, told_apart
from offsite.store.s3 import S3Store
from offsite.store.transport import Patience, connections

Command = Callable[[MinioAdmin], str]
"""A call of the SDK's admin client."""


class NoAdminError(NotAllowedError):
    """The store has no admin API of MinIO: its administrator sets accounts and policies."""


@dataclass(frozen=True)
class AdminApi:
    """The admin API of the server that a store lies on, under the store's credentials."""

    store: S3Store

    def ask(self, question: Command, *absent: str) -> Any:
        """Ask for something; None: the server says `absent` of it.

        Raises:
            NoAdminError: there is no such API.
            NotAllowedError, UnreachableError, StorageError: it did not answer.
        """
        told = self.run(question, *absent)
        try:
            return None if told is None else json.loads(told)
        except ValueError as error:
            raise self._no_admin() from error

    def run(self, command: Command, *fine: str) -> str | None:
        """Run a command; None: the server refused it for a reason that is fine.

        Raises:
            NoAdminError: there is no such API.
            NotAllowedError, UnreachableError, StorageError: it was not done.
        """
        with told_apart(self.store.place(), self.store.uri("")):
            try:
                return command(self._client())
            except MinioAdminException as error:
                code = _code(error)
                if code in fine:
                    return None
                raise self._refusal(code) from error

    def _client(self) -> MinioAdmin:
        url, patience = urlsplit(self.store.endpoint), Patience.of(self.store.stall_seconds)
        return MinioAdmin(
            endpoint=url.netloc,
            credentials=StaticProvider(self.store.access_key, self.store.secret_key),
            region=self.store.region,
            secure=url.scheme == "https",
            http_client=connections(self.store.endpoint, self.store.ca_file, patience),
        )

    def _refusal(self, code: str | None) -> OffsiteError:
        place = self.store.place()
        if code is None:
            return self._no_admin()
        if code == "AccessDenied" or code in WRONG_KEYS:
            return NotAllowedError(
                f"{place.endpoint} does not take these credentials for an administrator's "
                f"({code}); check the file that {place.settings}_CREDENTIALS names"
            )
        return StorageError(f"{place.endpoint} refused the administrator: {code}")

    def _no_admin(self) -> NoAdminError:
        return NoAdminError(
            f"{self.store.endpoint} has no admin API of MinIO; make the accounts and set their "
            "policies with its own tools"
        )


def _code(error: MinioAdminException) -> str | None:
    """Read the code of a refusal; None: it is not MinIO that speaks, which does so in JSON."""
    # the SDK keeps the body nowhere else
    _, _, body = str(error).partition("Body: ")
    try:
        code = json.loads(body)["Code"]
    except (ValueError, TypeError, KeyError):
        return None
    return code if isinstance(code, str) else None
