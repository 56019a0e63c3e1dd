"""A workload's files: other content is another volume, and that is how its user is replaced."""

from __future__ import annotations

from components.files import Files
from discovery.config import DiscoveryConfig
from planning.contents import SecretText
from planning.decide import decide
from tests.builders import report_of, settings_of

PLAN = decide(report_of(), settings_of("dev"), DiscoveryConfig())


def files(plain: str = "x", secret: str = "y") -> Files:
    return Files({"plain": plain}, {"secret": SecretText(secret)})


def test_a_changed_secret_is_other_content_though_it_does_not_print() -> None:
    assert files(secret="one").fingerprint(PLAN) != files(secret="two").fingerprint(PLAN)
    assert files(plain="one").fingerprint(PLAN) != files(plain="two").fingerprint(PLAN)
    assert files().fingerprint(PLAN) == files().fingerprint(PLAN)
    assert "only-here" not in f"{files(secret='only-here')!r} {SecretText('only-here')}"


def test_each_content_has_its_path() -> None:
    assert files().by_path() == {"plain": "x", "secrets/secret": "y"}
