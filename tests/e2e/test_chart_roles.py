"""What the roles of an organization's chart let people and pods do, as the API server has it."""

import json
from collections.abc import Callable

import pytest

from cluster.helm import install
from cluster.namespaces import Namespace
from offsite_testing.charts import organization

pytestmark = pytest.mark.e2e

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
]


def may(space: Namespace, who: str, verb: str, group: str, resource: str, home: str) -> bool:
    """Ask the API server whether somebody of a namespace may do something in it."""
    name, _, sub = resource.partition("/")
    asked = {"namespace": space.name, "verb": verb, "group": group, "resource": name}
    spec = {"user": who.format(home), "resourceAttributes": {**asked, "subresource": sub}}
    kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    review = json.dumps({**kind, "spec": spec})
    told = space.cluster.kubectl("create", "--output=json", "--filename=-", given=review)
    return bool(json.loads(told)["status"]["allowed"])


def test_everybody_may_do_what_the_work_needs_and_no_more(
    new_space: Callable[[str], Namespace],
) -> None:
    lab, other = new_space("lab"), new_space("other")
    users = {
        role: [{"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}]
        for role, name in (("edit", "engineer"), ("view", "auditor"))
    }
    install(lab, "lab", "offsite", organization(access=users))
    assert [asked for asked in MAY if not may(lab, *asked, lab.name)] == []
    assert [asked for asked in MAY_NOT if may(lab, *asked, lab.name)] == []
    assert [asked for asked in MAY if may(other, *asked, lab.name)] == []
