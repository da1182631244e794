"""`kill -9` of the runner, a Publish and the operator; `make chaos` kills those of Ray, too."""

import json
import time

import pytest

from cluster.images import OPERATOR
from cluster.jobs import is_in
from cluster.killing import kill, kill_all, started
from cluster.organizations import CLAIM, OPERATORS, Organization
from cluster.pods import container
from cluster.pods import pod as new_pod
from cluster.stages import distill
from cluster.trainings import LONG, first_step, training

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

READ = """
import json, pathlib, sys
from offsite.logs.kept import KeptLogs
from offsite.steps.recording import RunRecords
from offsite.store.artifact_store import FolderArtifactStore
store = FolderArtifactStore(pathlib.Path("/given/offsite"))
kept, run = KeptLogs(store, sys.argv[1]), RunRecords(store, sys.argv[1]).report()
logs = [[log.name.step, [line.event.wire() for line in kept.lines(log)]] for log in kept.list()]
print(json.dumps({"logs": logs, "run": run.wire()}))
"""


def test_a_killed_runner_goes_on_from_its_checkpoint(lab: Organization) -> None:
    lab.submit("killed", distill(steps=LONG))
    lab.reaches("killed", training)
    kill(lab.space, lab.running("killed", "work"), "offsite run")
    lab.reaches("killed", lambda status: status.attempts == 2)
    pod = lab.running("killed", "work")
    assert first_step(lab, pod) > 1
    assert lab.reaches("killed", is_in("Complete"), 600).attempts == 2


def test_logs_and_the_record_outlive_killed_and_deleted_pods(lab: Organization) -> None:
    lab.submit("logged", distill(steps=LONG))
    lab.reaches("logged", training)
    time.sleep(6)  # a log is kept every five seconds; what is younger is lost with its process
    kill(lab.space, lab.running("logged", "work"), "offsite run")
    lab.reaches("logged", is_in("Complete"), 600)
    uid = lab.space.get("offsitejob/logged")["metadata"]["uid"]
    lab.space.kubectl("delete", "pods", f"--selector=offsite-tuning.dev/job-uid={uid}")
    # an administrator's pod with the claim of the private store
    mount = {"name": CLAIM, "mountPath": "/given"}
    main = container(
        lab.space.cluster.image(OPERATOR), "sleep", "600", memory="512Mi", mounts=[mount]
    )
    volume = {"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}
    lab.space.apply(new_pod("reader", main, volumes=[volume], securityContext={"fsGroup": 10001}))
    lab.space.wait("condition=Ready", "pod/reader")
    told = json.loads(lab.space.kubectl("exec", "reader", "--", "python", "-c", READ, uid))
    lab.space.kubectl("delete", "pod", "reader")
    assert [step for step, _ in told["logs"]] == ["open", "work", "work", "publish"]
    killed, resumed = (events for step, events in told["logs"] if step == "work")
    assert [event for event in killed if event["event"] == "progress"]
    assert killed[-1]["event"] != "done"
    assert resumed[-1]["event"] == "done"
    assert (told["run"]["outcome"], told["run"]["attempts"]) == ("Complete", 2)


def test_a_killed_publish_is_repeated_without_training_again(lab: Organization) -> None:
    lab.submit("unsent", distill(steps=20))
    # when its process begins: it may be done before the API server tells that it runs
    kill_all(started(lab.begun("unsent", "publish"), "offsite run"))
    assert lab.reaches("unsent", is_in("Complete")).attempts == 2
    assert len(lab.pods("unsent", "work")) == 1


def test_a_killed_operator_finds_its_jobs_again(lab: Organization) -> None:
    lab.submit("orphan", distill(steps=LONG))
    lab.running("orphan", "work")
    (operator,) = lab.space.get("pods", OPERATORS)["items"]
    kill(lab.space, operator["metadata"]["name"], "offsite_operator")
    assert lab.reaches("orphan", is_in("Complete"), 600).attempts == 1
    assert len(lab.pods("orphan", "work")) == 1
    name = f"pod/{operator['metadata']['name']}"
    assert lab.space.get(name)["status"]["containerStatuses"][0]["restartCount"] > 0
