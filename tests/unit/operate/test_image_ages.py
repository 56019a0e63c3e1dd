"""The table shows how old the image of each service is; what tells no age shows none."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import docker
import pytest
import requests
from rich.console import Console

from catalog import LABEL_SERVICE
from discovery.report import DEPLOYED
from operate.image_ages import image_ages, told
from operate.status import ServiceStatus, show

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Engine:
    """An engine with one container for each pair of a service and its image's date."""

    dates: tuple[tuple[str, str], ...] = ()
    failure: Exception | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    @property
    def containers(self) -> Engine:
        return self

    def list(self, **options: Any) -> list[Any]:
        self.asked.append(options)
        if self.failure:
            raise self.failure
        return [
            type(
                "Container",
                (),
                {"labels": {LABEL_SERVICE: service}, "image": type("I", (), {"attrs": {"Created": at}})},
            )
            for service, at in self.dates
        ]


def ages(*dates: tuple[str, str], failure: Exception | None = None) -> dict[str, timedelta]:
    return dict(image_ages(lambda: cast(docker.DockerClient, Engine(dates, failure)), "dev", NOW))


def test_the_oldest_of_a_services_images_counts() -> None:
    assert ages(
        ("redis", "2026-11-24T11:59:59.123456789Z"),
        ("promptcraft", "2026-11-27T11:00:00Z"),
        ("promptcraft", "2026-11-25T12:00:00+00:00"),
    ) == {"redis": timedelta(days=3, seconds=1), "promptcraft": timedelta(days=2)}


def test_a_date_that_is_the_same_for_every_build_is_no_age() -> None:
    assert ages(("qdrant", "1970-01-01T00:00:00Z"), ("grafana", "1980-01-01T00:00:01Z")) == {}


@pytest.mark.parametrize("failure", [docker.errors.DockerException(), requests.ConnectionError()])
def test_an_engine_that_does_not_answer_tells_no_age(failure: Exception) -> None:
    assert ages(failure=failure) == {}


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (None, ""),
        (timedelta(hours=23), "of today"),
        (timedelta(hours=24), "1 day old"),
        (timedelta(days=40), "40 days old"),
    ],
)
def test_an_age_is_told_in_days(age: timedelta | None, said: str) -> None:
    assert told(age) == said


def test_the_table_shows_the_age_of_what_the_stack_runs_itself() -> None:
    console = Console(record=True, width=160)
    rows = [
        ServiceStatus("redis", DEPLOYED, "redis://redis:6379", "ok"),
        ServiceStatus("qdrant", "external_deployment", "http://127.0.0.1:6333", "ok"),
    ]
    show(rows, "dev", console, dict.fromkeys(("redis", "qdrant"), timedelta(days=12)))
    redis, qdrant = (line for line in console.export_text().splitlines() if "6379" in line or "6333" in line)
    assert "12 days old" in redis
    assert "days old" not in qdrant
