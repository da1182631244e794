"""What the roles of an organization's chart let people and pods do, as the API server has it."""

import json
from collections.abc import Callable

import pytest

from cluster.access import Manifest
from cluster.helm import install
from cluster.namespaces import Namespace
from offsite_testing.charts import organization

pytestmark = pytest.mark.e2e

Access = tuple[str, str, str, str]
"""Who, a verb, a group, and a resource of it."""
GROUP = "offsite-tuning.dev"
OPERATOR_ACCOUNT = "system:serviceaccount:{}:offsite-operator"
STEP_ACCOUNT = "system:serviceaccount:{}:offsite-step"
MAY = [
    (OPERATOR_ACCOUNT, "watch", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "delete", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "patch", GROUP, "offsitejobs/status"),
    (OPERATOR_ACCOUNT, "patch", GROUP, "offsitepeers/status"),
    (OPERATOR_ACCOUNT, "patch", "", "configmaps"),
    (OPERATOR_ACCOUNT, "create", "batch", "jobs"),
    (OPERATOR_ACCOUNT, "delete", "ray.io", "rayjobs"),
    (OPERATOR_ACCOUNT, "create", "", "configmaps"),
    (OPERATOR_ACCOUNT, "get", "", "pods/log"),
    (OPERATOR_ACCOUNT, "create", "", "events"),
    ("engineer", "create", GROUP, "offsitejobs"),
    ("engineer", "deletecollection", GROUP, "offsitejobs"),
    ("engineer", "get", GROUP, "offsitepeers"),
    ("engineer", "get", "", "pods/log"),
    ("engineer", "get", "", "namespaces"),
    ("auditor", "watch", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "watch", GROUP, "offsiteapprovals"),
    ("engineer", "get", GROUP, "offsiteapprovals"),
    ("auditor", "list", GROUP, "offsiteapprovals"),
    ("steward", "create", GROUP, "offsiteapprovals"),
    ("steward", "delete", GROUP, "offsiteapprovals"),
    ("steward", "get", GROUP, "offsitejobs"),
]
MAY_NOT = [
    *((who, "get", "", "secrets") for who in (OPERATOR_ACCOUNT, STEP_ACCOUNT, "engineer")),
    (OPERATOR_ACCOUNT, "list", "", "secrets"),
    (OPERATOR_ACCOUNT, "create", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "create", GROUP, "offsitepeers"),
    (OPERATOR_ACCOUNT, "patch", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "patch", GROUP, "offsitepeers"),
    (OPERATOR_ACCOUNT, "delete", GROUP, "offsitepeers"),
    (OPERATOR_ACCOUNT, "update", GROUP, "offsitejobs/status"),
    (OPERATOR_ACCOUNT, "update", GROUP, "offsitepeers/status"),
    (OPERATOR_ACCOUNT, "patch", "batch", "jobs"),
    (OPERATOR_ACCOUNT, "patch", "ray.io", "rayjobs"),
    (OPERATOR_ACCOUNT, "patch", "", "events"),
    (OPERATOR_ACCOUNT, "list", "", "configmaps"),
    (OPERATOR_ACCOUNT, "create", "", "pods"),
    (OPERATOR_ACCOUNT, "create", "", "pods/exec"),
    (OPERATOR_ACCOUNT, "create", "rbac.authorization.k8s.io", "rolebindings"),
    (STEP_ACCOUNT, "get", "", "configmaps"),
    (STEP_ACCOUNT, "get", GROUP, "offsitejobs"),
    ("engineer", "patch", GROUP, "offsitejobs/status"),
    ("engineer", "create", GROUP, "offsitepeers"),
    ("engineer", "patch", GROUP, "offsitepeers/status"),
    ("engineer", "create", "batch", "jobs"),
    ("engineer", "create", "", "pods"),
    ("engineer", "create", "", "pods/exec"),
    ("engineer", "get", "", "configmaps"),
    ("auditor", "create", GROUP, "offsitejobs"),
    ("auditor", "delete", GROUP, "offsitejobs"),
    (OPERATOR_ACCOUNT, "create", GROUP, "offsiteapprovals"),
    ("engineer", "create", GROUP, "offsiteapprovals"),
    ("auditor", "create", GROUP, "offsiteapprovals"),
    ("engineer", "delete", GROUP, "offsiteapprovals"),
    ("steward", "create", GROUP, "offsitejobs"),
    ("steward", "patch", GROUP, "offsitejobs"),
    ("steward", "patch", GROUP, "offsitejobs/status"),
]


def allowed(space: Namespace, asked: list[Access], home: str) -> list[Access]:
    """Ask the API server what a user of one namespace may do in another."""
    reviews = [review(space.name, *each, home) for each in asked]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
    answers = '--output=jsonpath={.status.allowed}{"\\n"}'
    told = space.cluster.kubectl("create", answers, "--filename=-", given=listed).split()
    assert set(told) <= {"true", "false"}
    return [each for each, may in zip(asked, told, strict=True) if may == "true"]


def review(space: str, who: str, verb: str, group: str, resource: str, home: str) -> Manifest:
    name, _, sub = resource.partition("/")
    asked = {"namespace": space, "verb": verb, "group": group, "resource": name}
    spec = {"user": who.format(home), "resourceAttributes": {**asked, "subresource": sub}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    return {**kind, "spec": spec}


def test_everybody_may_do_what_the_work_needs_and_no_more(
    new_space: Callable[[str], Namespace],
) -> None:
    lab, other = new_space("lab"), new_space("other")
    users = {
        role: [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
        for role, name in (("edit", "engineer"), ("view", "auditor"), ("approve", "steward"))
    }
    install(lab, "lab", "offsite", organization(access=users))
    assert allowed(lab, MAY, lab.name) == MAY
    assert allowed(lab, MAY_NOT, lab.name) == []
    assert allowed(other, MAY, lab.name) == []
