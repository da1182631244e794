"""The YAML file of a task: the fields of lm-eval that name no code and nothing outside the folder.

Fields as in lm-eval's guide to new tasks:
https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/new_task_guide.md
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from offsite.api.problems import problems
from offsite.config import reading
from offsite.errors import SpecError

Output = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling"]
METRICS: Mapping[Output, tuple[str, ...]] = {
    "multiple_choice": ("acc", "acc_norm", "exact_match"),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}
"""The metrics of each kind of task. Of any other, lm-eval would ask the hub for code."""

_CODE = {"class", "custom_dataset", "process_docs", "process_results", "unsafe_code", "use_prompt"}
_Short = Annotated[str, Field(max_length=256)]
_Template = Annotated[str, Field(max_length=65_536)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class DataFiles(_Part):
    """Where the data is: `dataset_kwargs` of `datasets.load_dataset`."""

    data_files: dict[_Short, _Short] = Field(min_length=1, max_length=16)
    """The file of each split, below the folder."""


class MetricEntry(_Part):
    """One metric. How it is aggregated, and whether more is better, follows from its name."""

    metric: _Short
    aggregation: Literal["mean", "perplexity", "weighted_perplexity", "bits_per_byte"] | None = None
    higher_is_better: bool | None = None  # noqa: V107


class Metadata(_Part):
    """What lm-eval tells beside the results."""

    version: int | float | str | None = None


class TaskFile(_Part):
    """One task. A field with a template may also name a column of the data.

    Some fields are accepted because many files have them, and are not used.
    """

    task: _Short
    tag: _Short | list[_Short] | None = None
    task_alias: _Short | None = None  # noqa: V107
    dataset_path: Literal["json", "parquet"]
    dataset_name: None = None  # noqa: V107
    dataset_kwargs: DataFiles
    output_type: Output
    training_split: _Short | None = None
    validation_split: _Short | None = None
    test_split: _Short | None = None
    fewshot_split: _Short | None = None
    num_fewshot: int = Field(0, ge=0, le=64)
    description: _Template = ""
    doc_to_text: _Template = ""
    doc_to_target: _Template | int
    doc_to_choice: _Template | list[_Template] | None = None
    target_delimiter: _Short = " "
    fewshot_delimiter: _Short = "\n\n"
    metric_list: list[MetricEntry] = Field([], max_length=3)
    should_decontaminate: bool = False  # noqa: V107
    doc_to_decontamination_query: _Template | None = None  # noqa: V107
    metadata: Metadata = Metadata()

    @property
    def split(self) -> str:
        """The split that models are scored on."""
        return self.test_split or self.validation_split or ""

    @property
    def shots(self) -> str:
        """The split that examples in the prompt are drawn from; empty: there are none."""
        chosen = self.fewshot_split or self.training_split or self.validation_split or self.split
        return chosen if self.num_fewshot else ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics to report; the first one counts."""
        named = tuple(each.metric for each in self.metric_list)
        return named or METRICS[self.output_type][:2]

    @model_validator(mode="before")
    @classmethod
    def _names_no_code(cls, content: Any) -> Any:
        if isinstance(content, dict) and (found := sorted(_CODE & {*map(str, content)})):
            raise ValueError(
                f"{found[0]}: it would run code of the task's author, which offsite never does; "
                "prepare the data beforehand, and remove it"
            )
        return content

    @model_validator(mode="after")
    def _fits_together(self) -> "TaskFile":
        if not self.split:
            raise ValueError("test_split: required, but missing; or set validation_split")
        for split in filter(None, (self.split, self.shots)):
            if split not in self.dataset_kwargs.data_files:
                raise ValueError(f"dataset_kwargs.data_files: has no file for the split {split!r}")
        if (self.doc_to_choice is None) == (self.output_type == "multiple_choice"):
            raise ValueError("doc_to_choice: output_type multiple_choice needs it, and no other")
        if wrong := [each for each in self.metrics if each not in METRICS[self.output_type]]:
            raise ValueError(
                f"metric_list: {wrong[0]!r} is not of {self.output_type}, which has "
                f"{', '.join(METRICS[self.output_type])}"
            )
        if len({*self.metrics}) < len(self.metrics):
            raise ValueError("metric_list: names a metric twice")
        return self


def parse_task(content: bytes, name: str, task: str) -> TaskFile:
    """Read the YAML of a task.

    Args:
        name: Its name in messages.
        task: The name of the task.

    Raises:
        SpecError: It is not YAML, has a tag such as `!function`, or unknown or wrong fields.
    """
    with reading(name, "task"):
        found = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
    try:
        parsed = TaskFile.model_validate(found)
    except ValidationError as error:
        raise SpecError(name, problems(error), "task") from error
    if parsed.task != task:
        raise SpecError(name, [f"task: must be {task!r}, as the file is named"], "task")
    return parsed
