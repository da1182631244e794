"""`offsite doctor`: does the namespace have all that a job needs, as far as this user may see?"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from offsite.errors import InputError
from offsite_cli.cluster import (
    checks_of_cluster,
    checks_of_namespace,
    checks_of_secrets,
    checks_of_stores,
)
from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.errors import ClusterError, ClusterRefusal, ClusterUnreachable
from offsite_cli.cluster.findings import Finding, exit_code
from offsite_cli.cluster.trying import tried
from offsite_cli.groups import grouped
from offsite_cli.options import Format
from offsite_cli.output import Output, show_json, show_text

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

Check = Callable[["Api"], Iterator[Finding]]

_CHECKS: dict[str, Check] = {
    **checks_of_cluster.CHECKS,
    **checks_of_namespace.CHECKS,
    **checks_of_secrets.CHECKS,
    **checks_of_stores.CHECKS,
}


@grouped
def doctor(
    target: Target,
    deep: Annotated[
        bool, typer.Option("--deep", help="Have a pod try both stores; for who may make Jobs.")
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Check that cluster and namespace have what jobs need.

    A line for each check: ok, warn or fail, with the remedy; skip, for what cannot be seen from
    here. The exit code is 1 if a check failed, 4 if the cluster cannot be reached.
    """
    api = connect(target)
    found: list[Finding] = []
    for name, check in (_CHECKS | ({"stores": tried} if deep else {})).items():
        for finding in checked(name, check, api):
            found.append(finding)
            if output is Output.TEXT:
                show_text(finding.line)
    if output is Output.JSON:
        show_json([each._asdict() for each in found])
    raise typer.Exit(exit_code(found))


def checked(name: str, check: Check, api: "Api") -> Iterator[Finding]:
    """Make a check; what may not be looked at is a warning.

    Raises:
        ClusterUnreachable: nobody answers, so that there is nothing to check.
    """
    try:
        yield from check(api)
    except ClusterUnreachable:
        raise
    except ClusterRefusal as error:
        yield Finding(name, "warn", f"you may not look: {error}")
    except (ClusterError, InputError) as error:
        yield Finding(name, "fail", str(error))
