"""What is created: pods that `restricted` lets through, and that see no Secret but their step's."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from offsite.apiversion import GROUP
from offsite.task import Jobs, parse_task
from offsite_operator.labels import child_name
from offsite_operator.manifests.children import new_child
from offsite_operator.manifests.plan import ChildPlan
from offsite_operator.manifests.rayjob import RAY_VERSION
from offsite_operator.observe.model import Engine
from offsite_operator.settings import Bounds, Private, Settings
from offsite_testing.world import (
    DIGEST,
    DISTILL,
    MARK,
    PLUG_IN,
    SETTINGS,
    START,
    TUNE,
    UID,
    World,
    ready_peer,
    spec_of,
)

STEPS: list[tuple[Any, Engine]] = [
    ("Open", "Job"),
    ("Work", "Job"),
    ("Work", "RayJob"),
    ("Report", "Job"),
    ("Publish", "Job"),
    ("ReadNotice", "Job"),
    ("Notify", "Job"),
]
ON_CLAIM = SETTINGS.model_copy(update={"private": Private(uri="pvc://home/offsite")})
AT_HUB = ON_CLAIM.model_copy(update={"model_hub": True})


def plan(step: Any = "Work", engine: Engine = "Job", **changes: Any) -> ChildPlan:
    content = changes.pop("content", TUNE)
    made = ChildPlan(
        job="tune-1",
        uid=UID,
        spec=spec_of(content, **changes.pop("spec", {})),
        settings=SETTINGS,
        peer=ready_peer(),
        step=step,
        attempt=1,
        round=0,
        engine=engine,
        mark=MARK,
        envelope=DIGEST,
        sequence=3,
        reason="DataError" if step == "Notify" else None,
        notice=DIGEST if step == "ReadNotice" else None,
    )
    return replace(made, **changes)


def templates(described: ChildPlan) -> list[dict[str, Any]]:
    spec = new_child(described).child["spec"]
    if described.engine == "Job":
        return [spec["template"]]
    ray = spec["rayClusterSpec"]
    groups = [ray["headGroupSpec"], *ray.get("workerGroupSpecs", [])]
    return [spec["submitterPodTemplate"], *(group["template"] for group in groups)]


@pytest.mark.parametrize(("step", "engine"), STEPS)
@pytest.mark.parametrize("settings", [SETTINGS, ON_CLAIM], ids=["s3", "claim"])
def test_pods_are_restricted_and_have_no_token(step: Any, engine: Engine, settings: Any) -> None:
    described = plan(step, engine, settings=settings, spec={"resources": {"workers": 3}})
    for template in templates(described):
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        allowed = {"emptyDir", "secret", "configMap", "persistentVolumeClaim"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
        for each in pod["containers"]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(each["resources"][kind])
            assert len({v["mountPath"] for v in each["volumeMounts"]}) == len(each["volumeMounts"])


@pytest.mark.parametrize(("step", "engine"), STEPS)
def test_scratch_has_an_end(step: Any, engine: Engine) -> None:
    settings = SETTINGS.model_copy(update={"scratch_limit": "3Gi"})
    for template in templates(plan(step, engine, settings=settings)):
        scratch = {v["name"]: v.get("emptyDir") for v in template["spec"]["volumes"]}["tmp"]
        assert scratch == {"sizeLimit": "3Gi"}


def secrets(described: ChildPlan) -> dict[str, list[str]]:
    found = {}
    for template in templates(described):
        for volume in template["spec"]["volumes"]:
            if "secret" in volume:
                keys = [item["key"] for item in volume["secret"]["items"]]
                found[volume["secret"]["secretName"]] = keys
                assert volume["secret"]["defaultMode"] == 0o440
    return found


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_pods_that_train_see_no_keys_and_no_exchange(engine: Engine) -> None:
    assert secrets(plan("Work", engine)) == {"store": ["credentials.json", "ca.crt"]}
    for template in templates(plan("Work", engine)):
        seen = {each["name"] for each in template["spec"]["containers"][0]["volumeMounts"]}
        assert "private" not in seen, "another container lends what trains a part of it"
    assert secrets(plan("Work", engine, settings=ON_CLAIM)) == {}
    text = json.dumps(new_child(plan("Work", engine)).child)
    assert "OFFSITE_EXCHANGE" not in text
    assert "OFFSITE_PASSPHRASE_FILE" not in text
    assert "reach-exchange" not in text


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_what_lends_a_store_in_s3_has_the_account_alone_and_runs_our_image(engine: Engine) -> None:
    described = plan("Work", engine, spec={"resources": {"workers": 2}})
    training = [each for each in templates(described) if "initContainers" in each["spec"]]
    assert len(training) == (1 if engine == "Job" else 2), "the submitter has no use for it"
    for template in training:
        (lender,), (main,) = template["spec"]["initContainers"], template["spec"]["containers"]
        assert lender["image"] == SETTINGS.images.operator != main["image"]
        shared = {each["name"]: each for each in main["volumeMounts"]}
        seen = {each["name"] for each in lender["volumeMounts"]}
        assert seen == {"task", "private", "session"}
        # what both see, the one that trains does not write: code would run beside the account
        assert all(shared[name]["readOnly"] for name in seen & shared.keys())
        place = shared["session"]["mountPath"]
        assert lender["command"][-2:] == ["--to", place]
        known = {each["name"]: each.get("value") for each in main["env"]}
        assert known["OFFSITE_PRIVATE_CREDENTIALS"] == f"{place}/credentials.json"
        assert known["OFFSITE_PRIVATE_CA"] == f"{place}/ca.crt"
    assert new_task(plan("Open")).lends, "whether the store does so is known before the work"


def test_a_store_that_lends_nothing_is_seen_as_a_whole() -> None:
    private = SETTINGS.private.model_copy(update={"sessions": False})
    described = plan(settings=SETTINGS.model_copy(update={"private": private}))
    (template,) = templates(described)
    assert "initContainers" not in template["spec"]
    seen = {each["name"] for each in template["spec"]["containers"][0]["volumeMounts"]}
    assert "private" in seen
    assert not new_task(replace(described, step="Open")).lends
    for other in (plan(settings=ON_CLAIM), plan("Open", settings=ON_CLAIM)):
        assert all("initContainers" not in each["spec"] for each in templates(other))
        assert not getattr(new_task(other), "lends", False)


def new_task(described: ChildPlan) -> Any:
    return parse_task(new_child(described).task["data"]["task.json"])


@pytest.mark.parametrize("step", ["ReadNotice", "Notify"])
@pytest.mark.parametrize("settings", [SETTINGS, ON_CLAIM], ids=["s3", "claim"])
def test_auxiliary_steps_see_keys_and_exchange_and_no_private_store(
    step: str, settings: Any
) -> None:
    described = plan(step, settings=settings)
    assert secrets(described) == {
        "keys": ["ring.json", "passphrase"],
        "account": ["credentials.json"],
    }
    (template,) = templates(described)
    labels = template["metadata"]["labels"]
    assert "offsite-tuning.dev/reach-exchange" in labels
    assert "offsite-tuning.dev/reach-private" not in labels
    assert "PRIVATE" not in json.dumps(template)
    assert all("persistentVolumeClaim" not in each for each in template["spec"]["volumes"])
    job = new_child(described).child["spec"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"]) == (2, 600)


@pytest.mark.parametrize("step", ["Open", "Report", "Publish"])
def test_small_steps_see_keys_and_exchange(step: str) -> None:
    assert secrets(plan(step)) == {
        "keys": ["ring.json", "passphrase"],
        "account": ["credentials.json"],
        "store": ["credentials.json", "ca.crt"],
    }
    (template,) = templates(plan(step))
    labels = template["metadata"]["labels"]
    assert labels["offsite-tuning.dev/reach-exchange"] == "true"
    assert template["spec"]["containers"][0]["image"] == SETTINGS.images.operator


def resolving(described: ChildPlan) -> set[str]:
    """Name the pods that may resolve names, by their part in Ray if they have one."""
    labels = [template["metadata"]["labels"] for template in templates(described)]
    reaching = [each for each in labels if f"{GROUP}/reach-dns" in each]
    return {each.get(f"{GROUP}/ray", each[f"{GROUP}/step"]) for each in reaching}


@pytest.mark.parametrize(
    ("settings", "content", "plain", "on_ray"),
    [
        (SETTINGS, TUNE, {"work"}, {"head", "worker", "submitter"}),
        (ON_CLAIM, TUNE, set(), {"worker", "submitter"}),
        (ON_CLAIM, DISTILL, set(), {"worker", "submitter"}),
        (AT_HUB, TUNE, set(), {"worker", "submitter"}),
        (AT_HUB, DISTILL, {"work"}, {"head", "worker", "submitter"}),
    ],
    ids=["s3", "claim", "claim-distill", "hub-tune", "hub-distill"],
)
def test_what_trains_resolves_names_only_to_reach_something(
    settings: Any, content: Any, plain: set[str], on_ray: set[str]
) -> None:
    asked = {"content": content, "settings": settings}
    assert resolving(plan("Work", "Job", **asked)) == plain
    several = {"resources": {"workers": 2}}
    assert resolving(plan("Work", "RayJob", **asked, spec=several)) == on_ray


@pytest.mark.parametrize("step", ["Open", "Report", "Publish", "ReadNotice", "Notify"])
def test_steps_that_hold_keys_resolve_the_name_of_the_exchange(step: str) -> None:
    assert resolving(plan(step, settings=ON_CLAIM)) == {step.lower()}


@pytest.mark.parametrize(("step", "engine"), STEPS)
def test_the_log_of_one_pod_tells(step: Any, engine: Engine) -> None:
    drivers = [
        template
        for template in templates(plan(step, engine))
        if "offsite-tuning.dev/driver" in template["metadata"]["labels"]
    ]
    assert len(drivers) == 1


@pytest.mark.parametrize("step", ["Open", "Work", "Report", "Publish"])
def test_a_task_has_only_what_its_step_needs(step: Any) -> None:
    child = new_child(plan(step))
    task = new_task(plan(step))
    assert child.task["metadata"]["name"] == child.child["metadata"]["name"] == task_name(child)
    assert (task.step, task.uid, task.envelope) == (step, UID, DIGEST)
    fields = set(json.loads(child.task["data"]["task.json"]))
    assert {"public", "exchange"} & fields == (set() if step == "Work" else {"public", "exchange"})
    assert getattr(task, "sequence", None) == (3 if step == "Publish" else None)
    assert (task.limits.max_kept_blocks, task.limits.max_end_blocks) == (0.8, 0.5)
    assert (task.limits.min_examples, task.limits.min_steps) == (16, 8)
    assert "jobs" not in fields


def test_the_last_step_knows_which_jobs_there_are() -> None:
    for step in ("Open", "Work", "Publish"):
        jobs = Jobs(uids=(UID, "another"), listed=START)
        assert getattr(new_task(plan(step, jobs=jobs)), "jobs", None) == (
            jobs if step == "Publish" else None
        )


def task_name(child: Any) -> str:
    volumes = child.child["spec"]["template"]["spec"]["volumes"]
    (name,) = (v["configMap"]["name"] for v in volumes if "configMap" in v)
    return str(name)


def test_everything_belongs_to_its_job() -> None:
    child = new_child(plan())
    for body in (child.task, child.child):
        (owner,) = body["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("OffsiteJob", UID, True)


def mounts(described: ChildPlan) -> dict[str, bool]:
    (template,) = templates(described)
    container, volumes = template["spec"]["containers"][0], template["spec"]["volumes"]
    claims = {v["name"]: v for v in volumes if "persistentVolumeClaim" in v}
    # for two volumes of one claim in a pod, the kubelet waits for ever
    named = [v["persistentVolumeClaim"]["claimName"] for v in claims.values()]
    assert len(named) == len(set(named))
    seen = [mount for mount in container["volumeMounts"] if mount["name"] in claims]
    paths = [mount["mountPath"] for mount in seen]
    assert len(paths) == len(set(paths))
    for mount, claim in ((each, claims[each["name"]]) for each in seen):
        # a folder is mounted where it lies in its claim
        name = claim["persistentVolumeClaim"]["claimName"]
        root = "/private" if mount["mountPath"].startswith("/private/") else f"/mnt/claims/{name}"
        assert f"{root}/{mount.get('subPath', '')}".rstrip("/") == mount["mountPath"]
    return {mount["mountPath"]: mount.get("readOnly", False) for mount in seen}


OWN = "/private/offsite"
WORK = f"{OWN}/work/{UID}"


def plugging(model: str, export: str = "pvc://out/model", **changes: Any) -> ChildPlan:
    section = PLUG_IN["plugIn"] | {"model": model, "export": {"to": export}}
    return plan(content=PLUG_IN, spec={"plugIn": section}, settings=ON_CLAIM, **changes)


def test_claims_are_mounted_where_they_are_needed() -> None:
    described = plugging("pvc://models/tiny")
    assert mounts(described) == {WORK: False, "/mnt/claims/models/tiny": True}
    keyed = {OWN: False, "/mnt/claims/models/tiny": True, "/mnt/claims/out": False}
    assert mounts(replace(described, step="Open")) == keyed
    assert mounts(replace(described, step="Publish")) == keyed


@pytest.mark.parametrize("engine", ["Job", "RayJob"])
def test_what_trains_sees_of_the_private_store_its_own_job_alone(engine: Engine) -> None:
    described = plan("Work", engine, settings=ON_CLAIM, spec={"resources": {"workers": 2}})
    seen = [
        (mount["mountPath"], mount["subPath"], mount.get("readOnly", False))
        for template in templates(described)
        for mount in template["spec"]["containers"][0]["volumeMounts"]
        if mount["name"].startswith("claim-")
    ]
    assert set(seen) == {(WORK, f"offsite/work/{UID}", False)}
    assert len(seen) == (1 if engine == "Job" else 2)


def bounded(**bounds: list[str]) -> Settings:
    allowed = Bounds.model_validate_json(json.dumps(bounds))
    return ON_CLAIM.model_copy(update={"bounds": allowed})


@pytest.mark.parametrize(
    ("prefixes", "places", "seen"),
    [
        # what the bounds allow around a location: links stay in it
        (["data/hub/"], ["data/hub/of/x"], {"data/hub"}),
        (["data/hub/of", "data/hub"], ["data/hub/of/x"], {"data/hub"}),
        (["data/"], ["data/hub/x"], {"data"}),
        (["data/a.txt"], ["data/a"], {"data/a.txt"}),
        # one in another, and beside it
        (["data/a", "data/a/b", "data/ab"], ["data/a/b/c", "data/ab/c"], {"data/a", "data/ab"}),
        (["data/a", "texts/"], ["data/a/x", "texts/y"], {"data/a", "texts"}),
        # but never what is the private store's
        (["home/"], ["home/own/x", "home/own/y"], {"home/own"}),
        (["home"], ["home/x"], {"home/x.txt"}),
        (["home"], ["home/offsite/texts/x"], {"home/offsite/texts"}),
        (["home"], ["home/offsite2/x"], {"home/offsite2"}),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_of_a_claim_that_is_read_only_what_the_bounds_allow_is_seen(
    prefixes: list[str], places: list[str], seen: set[str], whole: bool
) -> None:
    train, validation = (f"pvc://{each}.txt" for each in (places[0], places[-1]))
    settings = bounded(readPrefixes=[f"pvc://{each}" for each in prefixes])
    if whole:  # a claim that is allowed as a whole is that, but for the private store
        settings = bounded(claims=[each.partition("/")[0] for each in places])
        others = {each.partition("/")[0] for each in seen if not each.startswith("home/")}
        seen = {each for each in seen if each.startswith("home/")} | others
    section = TUNE["tune"] | {"data": {"train": train, "validation": validation}}
    described = plan(content=TUNE, spec={"tune": section}, settings=settings)
    read = {f"/mnt/claims/{each}": True for each in seen}
    assert mounts(described) == {WORK: False} | read


def test_folders_of_images_are_mounted_with_what_is_below_them() -> None:
    data = {each: f"pvc://records/images/{each}/" for each in ("train", "validation")}
    described = plan(content=TUNE, spec={"tune": TUNE["tune"] | {"data": data}})
    root = "/mnt/claims/records/images"
    for prefixes, seen in (
        (["pvc://records/images/"], {root}),
        (["pvc://records/"], {"/mnt/claims/records"}),
        ([*data.values()], {f"{root}/train", f"{root}/validation"}),
    ):
        settings = bounded(readPrefixes=prefixes)
        found = mounts(replace(described, settings=settings))
        assert found == {WORK: False} | dict.fromkeys(seen, True)
        keyed = mounts(replace(described, settings=settings, step="Publish"))
        assert {place for place, writes in keyed.items() if writes} <= seen


def test_a_model_is_exported_where_the_bounds_allow_it() -> None:
    for prefixes, seen in (
        (["pvc://out/models/"], "/mnt/claims/out/models"),
        (["pvc://out/models/team/one"], "/mnt/claims/out/models/team"),
        (["pvc://out/"], "/mnt/claims/out"),
    ):
        described = plugging("pvc://models/tiny", "pvc://out/models/team/one", step="Publish")
        settings = bounded(exportPrefixes=prefixes)
        assert mounts(replace(described, settings=settings))[seen] is False


def test_what_is_read_where_it_is_exported_is_one_mount() -> None:
    described = plugging("pvc://out/tiny", "pvc://out/one", step="Publish")
    settings = bounded(exportPrefixes=["pvc://out/"], readPrefixes=["pvc://out/"])
    assert mounts(replace(described, settings=settings)) == {OWN: False, "/mnt/claims/out": False}
    trains = replace(described, settings=settings, step="Work")
    assert mounts(trains) == {WORK: False, "/mnt/claims/out": True}


def test_what_begins_an_emulator_sees_its_model() -> None:
    section = DISTILL["distill"] | {"model": "pvc://models/tiny", "evaluate": "pvc://texts/a.txt"}
    described = plan("Open", content=DISTILL, spec={"distill": section})
    assert mounts(described) == {"/mnt/claims/models/tiny": True}
    assert mounts(replace(described, step="Publish")) == {}


def test_what_seals_an_adapter_sees_what_it_was_tuned_on() -> None:
    data = {"train": "pvc://records/train.jsonl", "validation": "pvc://other/valid.jsonl"}
    described = plan("Publish", content=TUNE, spec={"tune": TUNE["tune"] | {"data": data}})
    assert mounts(described) == {"/mnt/claims/records/train.jsonl": True}
    assert mounts(replace(described, step="Open")) == {}


def test_an_author_places_what_trains() -> None:
    wanted = {
        "nodeSelector": {"gpu": "big"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "tolerationSeconds": 5}],
        "priorityClassName": "high",
        "queue": "team",
    }
    described = plan(spec={"runtime": wanted, "resources": {"gpusPerWorker": 2}})
    (template,) = templates(described)
    pod, asked = template["spec"], template["spec"]["containers"][0]["resources"]
    assert pod["nodeSelector"] == {"gpu": "big"}
    assert pod["tolerations"] == wanted["tolerations"]
    assert pod["priorityClassName"] == "high"
    assert asked["limits"]["nvidia.com/gpu"] == asked["requests"]["nvidia.com/gpu"] == "2"
    labels = new_child(described).child["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "team"
    small = new_child(replace(described, step="Open")).child
    assert "kueue.x-k8s.io/queue-name" not in small["metadata"]["labels"]
    assert "suspend" not in new_child(replace(described, engine="RayJob")).child["spec"]


def test_a_rayjob_leaves_attempts_to_us() -> None:
    spec = new_child(plan("Work", "RayJob")).child["spec"]
    assert (spec["submissionMode"], spec["backoffLimit"]) == ("K8sJobMode", 0)
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["entrypoint"].endswith("run --task /etc/offsite/task/task.json --ray")
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert {"readinessProbe", "livenessProbe"} <= set(head)
    assert "command" not in head


def test_ray_asks_for_a_token_and_takes_it_from_kuberay() -> None:
    spec = new_child(plan("Work", "RayJob")).child["spec"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for template in templates(plan("Work", "RayJob")):
        # what stands there KubeRay leaves as it is
        names = {each["name"] for each in template["spec"]["containers"][0]["env"]}
        assert not names & {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}


def test_the_version_of_ray_is_that_of_the_runtime_image() -> None:
    locked = (Path(__file__).parents[2] / "requirements/runtime.txt").read_text(encoding="utf-8")
    assert f"\nray=={RAY_VERSION} " in locked


def test_workers_beside_the_head_get_what_it_gets() -> None:
    asked = {"workers": 3, "gpusPerWorker": 1, "cpusPerWorker": 2}
    described = plan("Work", "RayJob", spec={"resources": asked})
    ray = new_child(described).child["spec"]["rayClusterSpec"]
    (group,) = ray["workerGroupSpecs"]
    assert {group[name] for name in ("replicas", "minReplicas", "maxReplicas")} == {2}
    (head,) = ray["headGroupSpec"]["template"]["spec"]["containers"]
    (worker,) = group["template"]["spec"]["containers"]
    same = ("image", "resources", "env", "volumeMounts", "securityContext")
    assert {name: worker[name] for name in same} == {name: head[name] for name in same}
    assert "8265" not in str(worker["livenessProbe"])  # of the head alone
    assert "workerGroupSpecs" not in new_child(plan()).child["spec"]


def test_only_what_reads_a_model_reaches_the_hub() -> None:
    open_hub = SETTINGS.model_copy(update={"model_hub": True})
    described = plan(content=DISTILL, settings=open_hub)
    for each, reaches in (
        (described, True),
        (replace(described, step="Publish"), False),
        (plan(settings=open_hub), False),
        (plan(content=DISTILL), False),
    ):
        (template,) = templates(each)
        assert ("offsite-tuning.dev/reach-hub" in template["metadata"]["labels"]) is reaches
        environ = {e["name"] for e in template["spec"]["containers"][0]["env"]}
        assert ("HF_HUB_OFFLINE" in environ) is not reaches


@pytest.mark.parametrize(("step", "engine"), STEPS)
def test_each_pod_has_the_mark_of_its_events_where_its_log_is_read(
    step: Any, engine: Engine
) -> None:
    made = templates(plan(step, engine, spec={"resources": {"workers": 2}}))
    for template in made:
        assert template["metadata"]["annotations"] == {"offsite-tuning.dev/event-mark": MARK}
    field = {"fieldPath": "metadata.annotations['offsite-tuning.dev/event-mark']"}
    found = [each for template in made for each in template["spec"]["containers"][0]["env"]]
    marks = [each["valueFrom"] for each in found if each["name"] == "OFFSITE_EVENT_MARK"]
    assert marks == [{"fieldRef": field}] * (2 if engine == "RayJob" else 1)


@pytest.mark.parametrize("job", ["a", "7-days", "x" * 63, "a" + "-b" * 31])
def test_names_are_short_and_say_whose_they_are(job: str) -> None:
    name = child_name(job, UID, "1234", "Publish")
    assert len(name) <= 47
    assert name.endswith("-0f3c5a-1234-p")
    assert name[0].isalpha()
    assert "--" not in name


def variables(described: ChildPlan) -> Iterator[str]:
    (template,) = templates(described)
    yield from (e["name"] for e in template["spec"]["containers"][0]["env"])


def test_stores_are_told_as_the_cli_reads_them() -> None:
    assert {name for name in variables(plan("Open")) if name.startswith("OFFSITE_")} == {
        "OFFSITE_EVENT_MARK",
        "OFFSITE_EXCHANGE_ENDPOINT",
        "OFFSITE_EXCHANGE_CREDENTIALS",
        "OFFSITE_PRIVATE_ENDPOINT",
        "OFFSITE_PRIVATE_CREDENTIALS",
        "OFFSITE_PRIVATE_CA",
        "OFFSITE_PASSPHRASE_FILE",
    }


@pytest.mark.parametrize(("step", "engine"), STEPS[:4])
def test_a_step_ends_although_no_operator_looks(step: Any, engine: Engine) -> None:
    assert "activeDeadlineSeconds" not in new_child(plan(step, engine)).child["spec"]
    described = plan(step, engine, seconds=160)
    assert new_child(described).child["spec"]["activeDeadlineSeconds"] == 160


@pytest.mark.parametrize(("deadline", "left"), [(None, None), (100, 160)])
def test_a_first_step_has_all_of_a_deadline(deadline: int | None, left: int | None) -> None:
    world = World(spec_of(TUNE, activeDeadlineSeconds=deadline))
    assert world.work_plan().seconds == left


def test_a_later_step_has_less_left() -> None:
    world = World(spec_of(TUNE, activeDeadlineSeconds=100))
    world.go()
    world.wait(40.5)
    assert world.work_plan().seconds == 120
    world.wait(600)
    assert world.work_plan().seconds == 60
