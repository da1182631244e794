"""`offsite events`: show the Kubernetes Events of a job, its children and their pods."""

import re
from collections.abc import Container
from datetime import UTC, datetime

from offsite_cli.cluster.connection import Target, connect
from offsite_cli.cluster.job_status import Resource, format_duration, parse_time
from offsite_cli.cluster.jobs import JobName, get_job
from offsite_cli.cluster.pods import pods_of
from offsite_cli.cluster.printing import OutputFormat, OutputOption, show_content
from offsite_cli.options import grouped
from offsite_cli.output import show_info, show_text
from offsite_cli.tables import align

_COLUMNS = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


@grouped
def events(name: JobName, target: Target, form: OutputOption = OutputFormat.TABLE) -> None:
    """Show the events of a job and its pods, newest last."""
    api = connect(target)
    job = get_job(api, name)
    listed = api.get(api.path("api/v1", "events"))["items"]
    pods = {pod["metadata"]["uid"] for pod in pods_of(api, job)}
    found = sorted((each for each in listed if is_about(each, job, pods)), key=last_seen)
    if form in (OutputFormat.JSON, OutputFormat.YAML):
        show_content(form, {"apiVersion": "v1", "kind": "List", "items": found})
    elif form is OutputFormat.NAME:
        show_text(*(f"event/{each['metadata']['name']}" for each in found))
    elif found:
        now = datetime.now(UTC)
        show_text(*align([_COLUMNS, *(_row(each, now) for each in found)]))
    else:
        show_info(f"no events for {name}; Kubernetes keeps events for an hour by default")


def is_about(event: Resource, job: Resource, pods: Container[str]) -> bool:
    """Whether an event is about a job, its pods or its children.

    Deleted children, and those that KubeRay creates without our labels, are recognized by their
    name, which holds a part of the job's UID, the attempt or notice, and the step.

    Args:
        pods: the UIDs of the pods that carry the job's label.
    """
    about, uid = event.get("involvedObject") or {}, job["metadata"]["uid"]
    child = rf"(^|-){re.escape(uid[:6])}-[0-9a-f]+-[a-z](-|$)"
    own = about.get("uid") == uid or about.get("uid") in pods
    return own or bool(re.search(child, about.get("name") or ""))


def last_seen(event: Resource) -> datetime:
    """Return when an event happened last."""
    series = (event.get("series") or {}).get("lastObservedTime")
    times = [series, event.get("lastTimestamp"), event.get("eventTime")]
    return parse_time(next(filter(None, times), event["metadata"]["creationTimestamp"]))


def _row(event: Resource, now: datetime) -> list[str]:
    about = event.get("involvedObject") or {}
    count = (event.get("series") or event).get("count") or 1
    ago = format_duration((now - last_seen(event)).total_seconds())
    seen = f"{ago} (x{count})" if count > 1 else ago
    thing = f"{str(about.get('kind')).lower()}/{about.get('name')}"
    message = " ".join((event.get("message") or "").split())
    return [seen, event.get("type") or "", event.get("reason") or "", thing, message]
