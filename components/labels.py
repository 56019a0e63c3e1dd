"""The labels that everything of a stack carries. Plain inputs of one function: transforms don't run under mocks."""

from __future__ import annotations

from catalog import LABEL_OWNER, LABEL_PROJECT, LABEL_SERVICE, LABEL_STACK, LABEL_STAND_IN
from planning.plan import Plan


def labels(plan: Plan, service: str, stand_in: str | None = None) -> dict[str, str]:
    """Label names and values, sorted by name, as the engine reads them back.

    `stand_in` is "" for the real service where that has to be said, None where it goes without saying.
    """
    marks = {
        LABEL_PROJECT: plan.project,
        LABEL_STACK: plan.stack,
        LABEL_SERVICE: service,
        LABEL_OWNER: plan.owner,
    }
    if stand_in is not None:
        marks[LABEL_STAND_IN] = stand_in
    return dict(sorted(marks.items()))
