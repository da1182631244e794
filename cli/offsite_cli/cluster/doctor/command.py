"""`offsite doctor`: run the checks, and print a line for each finding."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from offsite.errors import InputError
from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.doctor import approvals, cluster, namespace, release, stores
from offsite_cli.cluster.doctor.finding import Finding, exit_code
from offsite_cli.cluster.errors import ClusterError, ClusterForbidden, ClusterUnreachable
from offsite_cli.options import Format, grouped
from offsite_cli.output import Output, show_json, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

Check = Callable[["Api"], Iterator[Finding]]

_CHECKS: dict[str, Check] = {
    "api": cluster.check_api,
    "crds": cluster.check_crds,
    "kuberay": cluster.check_kuberay,
    "gpus": cluster.check_gpus,
    "namespace": namespace.check_namespace,
    "rights": namespace.check_rights,
    "operator": release.check_operator,
    "peers": namespace.check_peers,
    "approvals": approvals.check_approvals,
    "secrets": release.check_secrets,
    "stores": stores.check_stores,
}
_DEEP_CHECKS: dict[str, Check] = {"stores": stores.probe_stores}


@grouped
def doctor(
    target: Target,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also test both stores from a pod. Needs permission to create Jobs."
        ),
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Check that the cluster and the namespace have what jobs need.

    Prints a line for each check: ok, warn or fail with the remedy, or skip if this command cannot
    check it. The exit code is 1 if a check failed, and 4 if the cluster cannot be reached.
    """
    api = connect(target)
    found: list[Finding] = []
    for name, check in (_CHECKS | (_DEEP_CHECKS if deep else {})).items():
        for finding in _run(name, check, api):
            found.append(finding)
            if output is Output.TEXT:
                show_text(finding.line)
    if output is Output.JSON:
        show_json([each._asdict() for each in found])
    raise typer.Exit(exit_code(found))


def _run(name: str, check: Check, api: "Api") -> Iterator[Finding]:
    """Run a check; a missing permission is only a warning.

    Raises:
        ClusterUnreachable: the API server does not answer, so no check can run.
    """
    try:
        yield from check(api)
    except ClusterUnreachable:
        raise
    except ClusterForbidden as error:
        yield Finding(name, "warn", f"you may not check this: {error}")
    except (ClusterError, InputError) as error:
        yield Finding(name, "fail", str(error))
