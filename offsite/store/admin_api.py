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
from offsite.store.credentials import Credentials
from offsite.store.policies import Policy
from offsite.store.s3 import S3Store
from offsite.store.s3_errors import WRONG_KEYS, translate_errors
from offsite.store.transport import connections

_NO_USER, _SO_ALREADY = "XMinioAdminNoSuchUser", "XMinioAdminPolicyChangeAlreadyApplied"
Command = Callable[[MinioAdmin], str]
"""A call of the SDK's admin client."""


class NoAdminError(NotAllowedError):
    """The store has no admin API of MinIO: its administrator sets accounts and policies."""


@dataclass(frozen=True)
class AdminApi:
    """The admin API of the server that a store lies on, under the store's credentials.

    Every method raises `NoAdminError` if there is no such API, and `NotAllowedError`,
    `UnreachableError` and `StorageError` if what it asks for was not done.
    """

    store: S3Store

    def user(self, name: str) -> dict[str, Any] | None:
        """Read what there is of an account; None: there is none."""
        found: dict[str, Any] | None = self.ask(lambda admin: admin.user_info(name), _NO_USER)
        return found

    def set_user(self, keys: Credentials) -> None:
        """Make an account, or give it another secret key."""
        self.run(lambda admin: admin.user_add(keys.access_key, keys.secret_key))

    def remove_user(self, name: str) -> bool:
        """Remove an account; tell whether there was one."""
        return self.run(lambda admin: admin.user_remove(name), _NO_USER) is not None

    def attach(self, user: str, name: str, policy: Policy) -> None:
        """Set a policy, and attach it to an account beside its others."""
        self.run(lambda admin: admin.policy_add(name, policy=policy))
        self.run(lambda admin: admin.attach_policy([name], user=user), _SO_ALREADY)

    def detach(self, user: str, name: str) -> bool:
        """Take a policy from an account; tell whether it had it."""
        fine = (_SO_ALREADY, _NO_USER)
        return self.run(lambda admin: admin.detach_policy([name], user=user), *fine) is not None

    def drop(self, name: str) -> None:
        """Remove a policy that nobody has."""
        self.run(lambda admin: admin.policy_remove(name))

    def ask(self, question: Command, *absent: str) -> Any:
        """Ask for something; None: the server says `absent` of it."""
        told = self.run(question, *absent)
        try:
            return None if told is None else json.loads(told)
        except ValueError as error:
            raise self._no_admin() from error

    def run(self, command: Command, *fine: str) -> str | None:
        """Run a command; None: the server refused it for a reason that is fine."""
        with translate_errors(self.store.place(), self.store.uri("")):
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
        place = self.store.place()
        if code is None:
            return self._no_admin()
        if code == "AccessDenied" or code in WRONG_KEYS:
            return NotAllowedError(
                f"{place.endpoint} does not accept these credentials as an administrator's "
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
