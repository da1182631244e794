"""An operator in threads of the test's own, on a real API server, with its Role's rights alone."""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, Configuration

from cluster.access import Manifest
from cluster.helm import rendered
from cluster.jobs import Happened, change_job, offsite_job, reaches, status_of
from cluster.namespaces import Namespace
from offsite.resources import JobStatus
from offsite.sealing import Ring
from offsite.store.folder import FolderStore
from offsite.wire import canonical
from offsite_operator.cluster.client import Api
from offsite_operator.controller.manager import operate
from offsite_operator.controller.metrics import Metrics
from offsite_operator.exchange.inbox import ExchangeInbox
from offsite_operator.settings import Settings
from offsite_testing.charts import Values, organization, peers
from offsite_testing.world import SETTINGS


@dataclass(frozen=True)
class Site:
    """A namespace in which an operator runs."""

    space: Namespace
    exchange: Path

    def submit(self, name: str, content: dict[str, Any], **changes: Any) -> None:
        """Create an OffsiteJob."""
        self.space.apply(offsite_job(name, content | changes))

    def change(self, name: str, **changes: Any) -> None:
        """Change the spec of an OffsiteJob."""
        change_job(self.space, name, changes)

    def reaches(self, name: str, happened: Happened, seconds: float = 120.0) -> JobStatus:
        """Watch an OffsiteJob until it has a status; see `cluster.jobs.reaches`."""
        return reaches(self.space, name, happened, seconds)

    def status(self, name: str) -> JobStatus:
        """Read what became of an OffsiteJob."""
        return status_of(self.space, name)

    def children(self, name: str) -> list[Any]:
        """List the Jobs of an OffsiteJob."""
        found: list[Any] = self.space.get("jobs", f"-l=offsite-tuning.dev/job={name}")["items"]
        return found


@contextmanager
def operating(space: Namespace, folder: Path, image: str) -> Iterator[Callable[..., Site]]:
    """Start operators in a namespace, by what their settings have otherwise.

    Args:
        image: both of the operator and of its steps, if the settings do not say otherwise.
    """
    stop, threads = threading.Event(), list[threading.Thread]()
    own, lab = Ring.new("hospital"), Ring.new("lab")

    def start(**changes: Any) -> Site:
        settings = _settings(image, **changes)
        desk = ExchangeInbox(own.public(), FolderStore(folder))
        if not threads:
            prepare(space, lab, settings)
        arguments = (Api(as_operator(space, folder), space.name), settings, desk, Metrics(), stop)
        threads.append(threading.Thread(target=operate, args=arguments))
        threads[-1].start()
        return Site(space, folder)

    try:
        yield start
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


def _settings(image: str, **changes: Any) -> Settings:
    images = {"operator": image, "runtime": image}
    wire = SETTINGS.model_dump(mode="json", by_alias=True) | {"images": images, **changes}
    return Settings.model_validate_json(json.dumps(wire))


def prepare(space: Namespace, lab: Ring, settings: Settings) -> None:
    """Make what the chart and the administrator make: accounts, Secrets, the peer."""
    chart = rendered("offsite", _values(settings), release="offsite", namespace=space.name)
    space.apply(*(each for each in chart if _is_rights(each)))
    for name, keys in (
        ("keys", ("ring.json", "passphrase")),
        ("account", ("credentials.json",)),
        ("store", ("credentials.json", "ca.crt")),
    ):
        literals = (f"--from-literal={key}=none" for key in keys)
        space.kubectl("create", "secret", "generic", name, *literals)
    public = canonical(lab.public().wire()).decode()
    kind = {"apiVersion": "offsite-tuning.dev/v1alpha1", "kind": "OffsitePeer"}
    space.apply(kind | {"metadata": {"name": "lab"}, "spec": {"id": "lab", "public": public}})


def _values(settings: Settings) -> Values:
    """Say of an organization's settings what decides what its operator may create."""
    wire = settings.model_dump(mode="json", by_alias=True, exclude_none=True)
    private = wire["private"] | ({} if settings.private.claim else {"to": peers("private")})
    return organization(images=wire["images"], identity=wire["identity"], bounds=wire["bounds"]) | {
        "private": private,
        "exchange": wire["exchange"] | {"to": peers("exchange")},
    }


def _is_rights(made: Manifest) -> bool:
    """Whether it is of what the operator may do, or one of the accounts."""
    own = made["metadata"]["name"] in ("offsite-operator", "offsite-step")
    rights = own and made["kind"] in ("ServiceAccount", "Role", "RoleBinding")
    return rights or made["metadata"]["name"] == "offsite-operator-policy"


def as_operator(space: Namespace, folder: Path) -> ApiClient:
    """Reach the cluster as the operator does, with the token of its ServiceAccount."""
    view = space.cluster.kubectl("config", "view", "--raw", "--minify", "--output=json")
    reached = json.loads(view)["clusters"][0]["cluster"]
    authority = folder / "authority.crt"
    authority.write_bytes(b64decode(reached["certificate-authority-data"]))
    configuration = Configuration()
    configuration.host = reached["server"]
    configuration.ssl_ca_cert = str(authority)
    token = space.kubectl("create", "token", "offsite-operator", "--duration=1h").strip()
    configuration.api_key["authorization"] = token
    configuration.api_key_prefix["authorization"] = "Bearer"
    return ApiClient(configuration)
