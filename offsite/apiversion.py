"""The group and the version of offsite's Kubernetes resources."""

from typing import Literal

ApiVersion = Literal["offsite-tuning.dev/v1alpha1"]
API_VERSION: ApiVersion = "offsite-tuning.dev/v1alpha1"
GROUP, _, VERSION = API_VERSION.partition("/")
