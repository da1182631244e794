"""What the namespace's release of the chart says of itself."""

import json
from typing import TYPE_CHECKING, Any

from offsite.errors import InputError

if TYPE_CHECKING:
    from offsite_cli.cluster.api import Api

INSTALL = "helm upgrade --install offsite charts/offsite"


def settings_of(api: "Api") -> dict[str, Any] | None:
    """Read the settings that the release gave to its operator; None: there is no such release.

    Raises:
        ClusterRefusal: this user may not read them.
    """
    try:
        found = api.get(api.path("api/v1", "configmaps", "offsite-settings"))
        settings = json.loads(found["data"]["settings.json"])
    except (InputError, KeyError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None
