"""The section `lmEval` of a stage."""

from typing import Annotated

from pydantic import Field, field_validator

from offsite.api.values import TASK_PATTERN, FolderLocation, Section

TaskName = Annotated[str, Field(pattern=TASK_PATTERN, max_length=64)]


class LmEval(Section):
    """Tasks of lm-evaluation-harness that the models of the stage are scored on."""

    # a set, so that the API server refuses a name that is there twice
    tasks: list[TaskName] = Field(
        min_length=1, max_length=12, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Names of the tasks: openbookqa, piqa, arc_easy, arc_challenge, hellaswag, sciq, webqs, race,
    wikitext, or that of a file NAME.yaml in the folder."""
    path: FolderLocation
    """The folder of the tasks: their YAML files and data, or a mirror of the data sets of the named
    tasks. It ends in `/`."""

    @field_validator("tasks")
    @classmethod
    def _differ(cls, tasks: list[str]) -> list[str]:
        if len({*tasks}) < len(tasks):
            raise ValueError("names a task twice")
        return tasks
