"""MinIO's admin API through the SDK, with JSON answers and our error classes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from offsite.errors import NotAllowedError, OffsiteError, StorageError
from offsite.store.credentials import Credentials
from offsite.store.policies import Policy
from offsite.store.s3 import S3Store
from offsite.store.s3_errors import WRONG_KEYS, translate_errors
from offsite.store.transport import connections

_NO_USER, _SO_ALREADY = "XMinioAdminNoSuchUser", "XMinioAdminPolicyChangeAlreadyApplied"
Command = Callable[[MinioAdmin], str]
"""A call of the SDK's admin client."""


class NoAdminError(NotAllowedError):
    """The store has no MinIO admin API; accounts and policies must be set with its own tools."""


@dataclass(frozen=True)
class AdminApi:
    """The admin API of a store's server, called with the store's credentials.

    Every method raises `NoAdminError` if the API does not exist, and `NotAllowedError`,
    `UnreachableError` or `StorageError` if the call failed.
    """

    store: S3Store

    def user(self, name: str) -> dict[str, Any] | None:
        """Read an account; None: it does not exist."""
        found: dict[str, Any] | None = self.ask(lambda admin: admin.user_info(name), _NO_USER)
        return found

    def set_user(self, keys: Credentials) -> None:
        """Create an account, or replace its secret key."""
        self.run(lambda admin: admin.user_add(keys.access_key, keys.secret_key))

    def remove_user(self, name: str) -> bool:
        """Remove an account; returns whether it existed."""
        return self.run(lambda admin: admin.user_remove(name), _NO_USER) is not None

    def attach(self, user: str, name: str, policy: Policy) -> None:
        """Set a policy, and attach it to an account in addition to its others."""
        self.run(lambda admin: admin.policy_add(name, policy=policy))
        self.run(lambda admin: admin.attach_policy([name], user=user), _SO_ALREADY)

    def detach(self, user: str, name: str) -> bool:
        """Detach a policy from an account; returns whether it was attached."""
        fine = (_SO_ALREADY, _NO_USER)
        return self.run(lambda admin: admin.detach_policy([name], user=user), *fine) is not None

    def drop(self, name: str) -> None:
        """Remove a policy that is not attached to any account."""
        self.run(lambda admin: admin.policy_remove(name))

    def ask(self, question: Command, *absent: str) -> Any:
        """Query the server; None: it answered with an `absent` code."""
        answer = self.run(question, *absent)
        try:
            return None if answer is None else json.loads(answer)
        except ValueError as error:
            raise self._no_admin() from error

    def run(self, command: Command, *fine: str) -> str | None:
        """Run a command; None: the server refused it with an accepted code."""
        with translate_errors(self.store.target(), self.store.uri("")):
            try:
                return command(self._client())
            except MinioAdminException as error:
                code = _code(error)
                if code in fine:
                    return None
                raise self._refusal(code) from error

    def _client(self) -> MinioAdmin:
        url, retries = urlsplit(self.store.endpoint), self.store.retries()
        return MinioAdmin(
            endpoint=url.netloc,
            credentials=StaticProvider(self.store.access_key, self.store.secret_key),
            region=self.store.region,
            secure=url.scheme == "https",
            http_client=connections(self.store.endpoint, self.store.ca_file, retries),
        )

    def _refusal(self, code: str | None) -> OffsiteError:
        target = self.store.target()
        if code is None:
            return self._no_admin()
        if code == "AccessDenied" or code in WRONG_KEYS:
            return NotAllowedError(
                f"{target.endpoint} does not accept these credentials for administration "
                f"({code}); check the file that {target.settings}_CREDENTIALS names"
            )
        return StorageError(f"{target.endpoint} refused the administrator: {code}")

    def _no_admin(self) -> NoAdminError:
        return NoAdminError(
            f"{self.store.endpoint} has no MinIO admin API; create the accounts and set their "
            "policies with its own tools"
        )


def _code(error: MinioAdminException) -> str | None:
    """Read the error code of a refusal; None: the answer is not MinIO's JSON."""
    # the SDK keeps the body only in the message
    _, _, body = str(error).partition("Body: ")
    try:
        code = json.loads(body)["Code"]
    except (ValueError, TypeError, KeyError):
        return None
    return code if isinstance(code, str) else None
