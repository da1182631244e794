"""What the charts render, and what they refuse. Helm alone answers: no cluster is asked."""

import json
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from cluster.access import Manifest
from cluster.helm import CHARTS, lint, rendered
from offsite import __version__
from offsite_testing.charts import EXCHANGE, on_claim, organization

pytestmark = pytest.mark.e2e


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def settings(manifests: list[Manifest]) -> dict[str, Any]:
    found = next(each for each in manifests if each["metadata"]["name"] == "offsite-settings")
    known: dict[str, Any] = json.loads(found["data"]["settings.json"])
    return known


def pod_of(manifests: list[Manifest]) -> dict[str, Any]:
    (found,) = of_kind(manifests, "Deployment") + of_kind(manifests, "StatefulSet")
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("chart", "known"),
    [("offsite", organization()), ("offsite", on_claim()), ("exchange", EXCHANGE)],
    ids=["a bucket", "a claim", "exchange"],
)
def test_helm_finds_no_mistake(chart: str, known: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in lint(chart, known)


def test_the_readmes_values_are_enough() -> None:
    text = (CHARTS / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    known = settings(rendered("offsite", YAML(typ="safe").load(example)))
    assert (known["party"], known["bounds"]["peers"]) == ("lab", ["hospital"])


@pytest.mark.parametrize("chart", ["offsite", "exchange"])
def test_a_chart_has_the_products_version(chart: str) -> None:
    text = (CHARTS / chart / "Chart.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^(?:appV|v)ersion: (.+)$", text, re.MULTILINE) == [__version__] * 2


@pytest.mark.parametrize(
    ("chart", "known", "told"),
    [
        ("offsite", {}, ["missing property 'party'", "/identity': missing property 'secret'"]),
        ("offsite", {}, ["/images': missing properties 'operator', 'runtime'"]),
        ("offsite", {}, ["/exchange': missing properties 'uri', 'endpoint', 'secret', 'to'"]),
        ("offsite", {}, ["/private': missing property 'uri'"]),
        (
            "offsite",
            organization() | {"private": {"uri": "s3://models/lab"}},
            ["/private': missing properties 'endpoint', 'secret', 'to'"],
        ),
        ("offsite", organization(exchange={"to": []}), ["/exchange/to': minItems: got 0, want 1"]),
        ("offsite", organization(exchange={"to": [{}]}), ["/exchange/to/0': minProperties"]),
        ("offsite", organization(exchange={"endpont": "x"}), ["properties 'endpont' not allowed"]),
        ("offsite", organization(bounds={"maxKeptBlocks": 2}), ["maximum: got 2, want 1"]),
        (
            "offsite",
            organization(bounds={"readPrefixes": ["s3://data*"]}),
            ["/bounds/readPrefixes/0': 's3://data*' does not match"],
        ),
        ("offsite", organization(bounds={"maxEndBlocks": 0}), ["exclusiveMinimum: got 0, want 0"]),
        (
            "offsite",
            organization(bounds={"privacy": {"maxEpsilon": 0}}),
            ["exclusiveMinimum: got 0, want 0"],
        ),
        (
            "offsite",
            organization(bounds={"requireApproval": "Yes"}),
            ["/bounds/requireApproval': value must be one of 'None'"],
        ),
        (
            "offsite",
            organization() | {"notices": "All"},
            ["/notices': value must be one of 'None'"],
        ),
        ("offsite", organization() | {"party": "The Lab"}, ["/party': 'The Lab' does not match"]),
        ("offsite", organization(identity={"ring": "{}"}), ["properties 'ring' not allowed"]),
        (
            "offsite",
            organization(
                private={"uri": "s3://exchange/lab", "endpoint": "https://exchange.example:9000/"}
            ),
            ["private.uri and exchange.uri are one bucket", "give each a bucket of its own"],
        ),
        ("offsite", organization(scratch={"sizeLimit": 9}), ["/scratch/sizeLimit': got number"]),
        ("exchange", {}, ["/images': missing property 'minio'"]),
        ("exchange", {"root": {"password": "secret"}}, ["properties 'password' not allowed"]),
        ("exchange", {"external": {"endpoint": "s3.example"}}, ["/external/endpoint'"]),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    chart: str, known: dict[str, Any], told: list[str]
) -> None:
    with pytest.raises(RuntimeError) as refused:
        rendered(chart, known)
    for each in told:
        assert each in str(refused.value)


@pytest.mark.parametrize(
    ("private", "exchange", "same"),
    [
        ("https://S3.Example", "https://s3.example:443/", True),
        ("http://s3.example", "http://s3.example.:80", True),
        ("https://s3.example", "https://s3.example:9000", False),
        ("https://s3.example", "https://other.example", False),
    ],
)
def test_one_bucket_is_one_however_its_server_is_written(
    private: str, exchange: str, same: bool
) -> None:
    known = organization(
        private={"uri": "s3://exchange/lab", "endpoint": private}, exchange={"endpoint": exchange}
    )
    if not same:
        assert rendered("offsite", known)
        return
    with pytest.raises(RuntimeError, match="are one bucket"):
        rendered("offsite", known)


def test_the_operator_gets_its_settings_as_it_reads_them() -> None:
    known = settings(
        rendered("offsite", organization(exchange={"ca": True, "region": "eu-1", "ports": [1]}))
    )
    assert known["exchange"] == {
        "uri": "s3://exchange",
        "endpoint": "https://exchange.example:9000",
        "region": "eu-1",
        "secret": "offsite-exchange",
        "ca": True,
    }
    assert known["images"] == organization()["images"]
    assert known["bounds"]["peers"] == []
    assert (known["modelHub"], known["serviceAccount"]) == (False, "offsite-step")
    assert known["notices"] == "Reason"
    assert known["scratchLimit"] == "200Gi"


def test_other_settings_make_another_pod() -> None:
    def annotations(**more: Any) -> dict[str, str]:
        (found,) = of_kind(rendered("offsite", organization(**more)), "Deployment")
        noted: dict[str, str] = found["spec"]["template"]["metadata"]["annotations"]
        return noted

    assert annotations() == annotations()
    assert annotations() != annotations(bounds={"peers": ["hospital"]})


@pytest.mark.parametrize(("chart", "known"), [("offsite", organization()), ("exchange", EXCHANGE)])
def test_pods_are_restricted(chart: str, known: dict[str, Any]) -> None:
    spec = pod_of(rendered(chart, known))
    context = spec["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 10001)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    (only,) = spec["containers"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"requests", "limits"} == only["resources"].keys()
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= only.keys()


def test_the_operator_gets_no_private_key_and_the_readers_account_alone() -> None:
    known = organization(exchange={"readerSecret": "reader", "ca": True})
    spec = pod_of(rendered("offsite", known))
    sources = spec["volumes"][0]["projected"]["sources"]
    secrets = [each["secret"] for each in sources if "secret" in each]
    items = {each["name"]: [item["key"] for item in each["items"]] for each in secrets}
    assert items == {
        "offsite-identity": ["public.json"],
        "reader": ["credentials.json", "ca.crt"],
    }
    assert not [each for each in spec["volumes"] if "secret" in each]


@pytest.mark.parametrize("known", [organization(private={"ca": True}), on_claim()])
def test_the_pod_that_tries_the_stores_has_accounts_and_no_keys(known: dict[str, Any]) -> None:
    (job,) = of_kind(rendered("offsite", known), "CronJob")
    assert job["spec"]["suspend"] is True
    template = job["spec"]["jobTemplate"]["spec"]["template"]
    spec, on_s3 = template["spec"], known["private"]["uri"].startswith("s3://")
    secrets = {each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}
    assert secrets == {"offsite-exchange", *(["offsite-private"] if on_s3 else [])}
    (only,) = spec["containers"]
    place = "s3://models/lab" if on_s3 else "file:///private/lab"
    assert only["command"][3:] == [
        "--party=lab",
        "--exchange=s3://exchange",
        f"--private={place}",
    ]
    names = {each["name"] for each in only["env"]}
    assert "OFFSITE_EXCHANGE_CREDENTIALS" in names
    assert ("OFFSITE_PRIVATE_CA" in names) is on_s3
    assert ("offsite-tuning.dev/reach-private" in template["metadata"]["labels"]) is on_s3
    assert spec["automountServiceAccountToken"] is False
    assert only["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_chart_holds_what_is_secret() -> None:
    assert of_kind(rendered("offsite", organization()), "Secret") == []
    named = {**EXCHANGE, "root": {"secret": "mine"}, "tls": {"secret": "ours"}}
    assert of_kind(rendered("exchange", named), "Secret") == []


def test_the_policy_of_operators_is_there_unless_it_is_unwanted() -> None:
    def policies(**values: Any) -> set[str]:
        made = rendered("offsite-crds", values)
        found = {each["metadata"]["name"] for each in of_kind(made, "ValidatingAdmissionPolicy")}
        bound = of_kind(made, "ValidatingAdmissionPolicyBinding")
        assert {each["spec"]["policyName"] for each in bound} == found
        return found

    # no value removes those on which an approval rests
    approvals = {"offsite-authors", "offsite-approvers", "offsite-approvals-by-others"}
    assert policies() == approvals | {"offsite-operator-children", "offsite-operator-tasks"}
    assert policies(operatorPolicy={"enabled": False}) == approvals
    with pytest.raises(RuntimeError, match="'enable' not allowed"):
        policies(operatorPolicy={"enable": False})


def test_the_policy_knows_every_claim_and_image_that_a_job_may_name() -> None:
    bounds = {
        "claims": ["texts", "own-*"],
        "readPrefixes": ["pvc://data/a/", "pvc://data/b/", "s3://models/"],
        "exportPrefixes": ["pvc://exports/"],
        "images": ["localhost/other:*"],
    }
    made = rendered("offsite", organization(bounds=bounds) | on_claim_part())
    (found,) = (each for each in made if each["metadata"]["name"] == "offsite-operator-policy")
    assert found["data"]["claims"].split() == ["texts", "own-*", "models", "data", "exports"]
    assert found["data"]["runtimeImages"].split() == ["localhost/runtime:1", "localhost/other:*"]
    assert found["data"]["privateSecret"] == ""


def on_claim_part() -> dict[str, Any]:
    return {"private": on_claim()["private"]}


def test_nothing_is_of_the_whole_cluster() -> None:
    made = [*rendered("offsite", organization()), *rendered("exchange", EXCHANGE)]
    assert {each["metadata"]["namespace"] for each in made} == {"lab"}
    assert not [each for each in made if each["kind"].startswith("Cluster")]


def test_an_external_exchange_makes_no_server() -> None:
    (only,) = rendered("exchange", {"external": {"endpoint": "https://s3.example"}})
    assert (only["kind"], only["data"]) == ("ConfigMap", {"endpoint": "https://s3.example"})


@pytest.mark.parametrize(("release", "name"), [("exchange", "exchange"), ("x", "x-exchange")])
def test_the_exchange_is_named_as_its_release(release: str, name: str) -> None:
    made = rendered("exchange", EXCHANGE, release=release, namespace="ours")
    (stated,) = of_kind(made, "ConfigMap")
    assert stated["data"]["endpoint"] == f"https://{name}.ours.svc.cluster.local:9000"
    assert of_kind(made, "Service")[0]["metadata"]["name"] == name


def test_quota_limits_and_bindings_are_made_when_asked_for() -> None:
    kinds = {"ResourceQuota", "LimitRange"}
    assert kinds.isdisjoint(each["kind"] for each in rendered("offsite", organization()))
    group = {"kind": "Group", "name": "engineers", "apiGroup": "rbac.authorization.k8s.io"}
    asked = {"resourceQuota": {"pods": "5"}, "limitRange": [{"type": "Container"}]}
    made = rendered("offsite", {**organization(access={"edit": [group]}), **asked})
    assert kinds <= {each["kind"] for each in made}
    bound = {each["roleRef"]["name"]: each["subjects"] for each in of_kind(made, "RoleBinding")}
    assert bound["offsite-edit"] == [group]
    assert "offsite-view" not in bound
