"""What of a decision is done although the API server refuses a part of it."""

from typing import Any

import pytest

from offsite_operator.cluster.apply import RejectedChild, carry_out
from offsite_operator.cluster.client import ApiError
from offsite_operator.observe.model import Phase
from offsite_testing.world import DISTILL, World, spec_of


class Refusing:
    """An API server that takes no status, and remembers what it was asked to delete."""

    namespace = "hospital"

    def __init__(self, code: int) -> None:
        self.code = code
        self.deleted: list[str] = []

    def apply(self, resource: object, body: object, part: str) -> Any:
        raise ApiError(self.code, "no")

    def delete(self, resource: object, name: str, uid: str) -> None:
        self.deleted.append(name)


class Webhooked(Refusing):
    """An API server of which a webhook does not answer."""

    def create(self, resource: object, body: object) -> Any:
        raise ApiError(self.code, "failed calling webhook")


@pytest.mark.parametrize(
    ("code", "reported"),
    [(500, True), (503, True), (429, True), (403, True), (0, False), (401, False)],
)
def test_a_rejected_child_is_reported_on_the_job(code: int, reported: bool) -> None:
    """Except if the server does not answer, or does not authenticate the operator."""
    world = World(spec_of(DISTILL), incoming=None)
    with pytest.raises(RejectedChild if reported else ApiError):
        carry_out(Webhooked(code), world.seen, world.decide())  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "stops"), [(413, True), (500, True), (422, True), (409, False)])
def test_what_is_to_stop_stops_although_its_status_is_refused(code: int, stops: bool) -> None:
    world = World(spec_of(DISTILL), incoming=None)
    world.go()
    world.becomes(Phase.RUNNING)
    world.go()
    world.change(cancel=True)
    api = Refusing(code)
    with pytest.raises(ApiError):
        carry_out(api, world.seen, world.decide())  # type: ignore[arg-type]
    assert api.deleted == ([world.newest.name] if stops else [])
