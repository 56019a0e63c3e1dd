"""One look a deploy: shared by preview and update, and confirmed by the one that acts on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from discovery.deploy_look import confirm
from discovery.report import Finding, NamedBy, Verdict
from errors import ConfigError
from tests.builders import finding, report_of

QDRANT = finding("qdrant", endpoint="http://10.0.0.5:6333", evidence="QDRANT_HOST", named_by=NamedBy.OPERATOR)


@pytest.mark.parametrize(
    "now", [(QDRANT,), (QDRANT, finding("zen-mcp")), (finding("qdrant", endpoint="http://10.0.0.9:6333"), QDRANT)]
)
def test_what_was_previewed_is_applied_while_it_is_there(now: tuple[Finding, ...]) -> None:
    confirm(report_of([QDRANT]), report_of(now), ("qdrant", "zen-mcp"))


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ((replace(QDRANT, verdict=Verdict.IMPOSTOR),), "impostor: said so"),
        ((replace(QDRANT, verdict=Verdict.UNREACHABLE),), "unreachable: said so"),
        ((replace(QDRANT, candidate=replace(QDRANT.candidate, container_id="f" * 64)),), "verified: said so"),
        ((finding("qdrant", endpoint="http://10.0.0.9:6333"),), "not found"),
    ],
)
def test_what_changed_its_identity_since_the_preview_is_refused(now: tuple[Finding, ...], expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"qdrant: http://10.0.0.5:6333 \(QDRANT_HOST\) .*\({expected}\)"):
        confirm(report_of([QDRANT]), report_of(now), ("qdrant",))
    confirm(report_of([QDRANT]), report_of(now), ("redis",))
