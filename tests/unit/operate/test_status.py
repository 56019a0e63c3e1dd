"""The table that `make up` ends with: what the application says is what is shown, and what is waited for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operate.status import ServiceStatus, settled, statuses, unavailable
from tests.answering import answering

WELL = {"status": "ok", "services": {"redis": {"status": "ok"}}}
AILING = {"status": "degraded", "services": {"redis": {"status": "down", "problem": "Connection refused"}}}


def outputs(port: int, **redis: str) -> dict[str, Any]:
    chosen = {"source": "deployed", "endpoint": "redis://redis:6379", **redis}
    application = {"source": "deployed", "endpoint": "http://promptcraft:7862"}
    url = f"http://127.0.0.1:{port}"
    return {
        "plan": {"promptcraft": application, "redis": chosen, "grafana": {"source": "omitted", "endpoint": None}},
        "urls": {"promptcraft-api": url, "promptcraft": url},
    }


def health(rows: list[ServiceStatus]) -> dict[str, str]:
    return {row.service: row.health for row in rows}


def test_services_that_find_each_other_a_moment_later_are_waited_for() -> None:
    told = iter([AILING, AILING, WELL])
    with answering(lambda _: (200, json.dumps(next(told)).encode())) as port:
        rows = settled(outputs(port), seconds=60)
    # Once all is well nobody asks again.
    assert next(told, None) is None
    assert health(rows) == {"promptcraft": "ok", "redis": "ok"}
    assert [row.complaint for row in rows] == [None, None]


def test_what_stays_unwell_ends_the_waiting_and_says_why() -> None:
    with answering(lambda _: (200, json.dumps(AILING).encode())) as port:
        rows = settled(outputs(port), seconds=0.1)
    assert health(rows) == {"promptcraft": "degraded", "redis": "down"}
    assert rows[1].complaint == (
        "redis: redis://redis:6379 (inside) (deployed) is down for the application's container: Connection refused"
    )


def test_a_service_of_somebody_elses_that_fails_is_told_even_without_a_reason() -> None:
    ailing = {"status": "degraded", "services": {"redis": {"status": "down"}}}
    with answering(lambda _: (200, json.dumps(ailing).encode())) as port:
        (row,) = (row for row in statuses(outputs(port, source="external_deployment")) if row.service == "redis")
    assert row.complaint is not None
    assert row.complaint.endswith("it gave no reason")


def test_without_a_model_what_to_do_is_said_once_under_the_table() -> None:
    plan = {"models": {"source": "omitted", "reason": "was not found"}, "docs": {"source": "omitted", "reason": "no"}}
    told = {"plan": plan, "models": {"names": {}, "problem": "agents have no model: set …"}}
    assert unavailable(told) == ["docs is unavailable: no", "agents have no model: set …"]
    # A provider's key is enough; and an older deployment says nothing of models.
    assert unavailable(told | {"models": {"names": {"opus": "xai:x"}, "problem": None}}) == ["docs is unavailable: no"]
    assert unavailable({"plan": plan}) == ["docs is unavailable: no"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b""])
def test_what_is_no_health_document_leaves_everything_unknown(body: bytes) -> None:
    with answering(lambda _: (200, body)) as port:
        assert set(health(statuses(outputs(port))).values()) == {"unknown"}
