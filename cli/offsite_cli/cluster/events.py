"""`offsite events`: what Kubernetes tells of a job, its children and their pods."""

import re
from collections.abc import Container
from datetime import UTC, datetime

from offsite_cli.cluster.access import Target, connect
from offsite_cli.cluster.facts import Resource, duration, moment
from offsite_cli.cluster.jobs import get_job
from offsite_cli.cluster.names import JobName
from offsite_cli.cluster.pods import pods_of
from offsite_cli.cluster.rows import aligned
from offsite_cli.cluster.view import View, Viewed, write
from offsite_cli.groups import grouped
from offsite_cli.output import say, show_text

_HEAD = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


@grouped
def events(name: JobName, target: Target, view: Viewed = View.TABLE) -> None:
    """Show the events of a job and its pods, the last one last."""
    api = connect(target)
    job = get_job(api, name)
    listed = api.get(api.path("api/v1", "events"))["items"]
    made = {pod["metadata"]["uid"] for pod in pods_of(api, job)}
    found = sorted((each for each in listed if concerns(each, job, made)), key=last_seen)
    if view in (View.JSON, View.YAML):
        write(view, {"apiVersion": "v1", "kind": "List", "items": found})
    elif view is View.NAME:
        show_text(*(f"event/{each['metadata']['name']}" for each in found))
    elif found:
        now = datetime.now(UTC)
        show_text(*aligned([_HEAD, *(_row(each, now) for each in found)]))
    else:
        say(f"no events of {name}; Kubernetes keeps them for an hour, as a rule")


def concerns(event: Resource, job: Resource, made: Container[str]) -> bool:
    """Tell whether an event is of a job or of what was made for it.

    What is gone, and what KubeRay makes without our labels, is known by its name: each child has a
    part of the job's UID, its attempt or notice, and its step in it.

    Args:
        made: the UIDs of what carries the job's label.
    """
    about, uid = event.get("involvedObject") or {}, job["metadata"]["uid"]
    child = rf"(^|-){re.escape(uid[:6])}-[0-9a-f]+-[a-z](-|$)"
    own = about.get("uid") == uid or about.get("uid") in made
    return own or bool(re.search(child, about.get("name") or ""))


def last_seen(event: Resource) -> datetime:
    """Read when an event happened last."""
    series = (event.get("series") or {}).get("lastObservedTime")
    times = [series, event.get("lastTimestamp"), event.get("eventTime")]
    return moment(next(filter(None, times), event["metadata"]["creationTimestamp"]))


def _row(event: Resource, now: datetime) -> list[str]:
    about = event.get("involvedObject") or {}
    count = (event.get("series") or event).get("count") or 1
    ago = duration((now - last_seen(event)).total_seconds())
    seen = f"{ago} (x{count})" if count > 1 else ago
    thing = f"{str(about.get('kind')).lower()}/{about.get('name')}"
    message = " ".join((event.get("message") or "").split())
    return [seen, event.get("type") or "", event.get("reason") or "", thing, message]
