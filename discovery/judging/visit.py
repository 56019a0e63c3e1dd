"""What came of asking one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog import Protocol
from discovery.fingerprints.answer import Answer
from discovery.judging.ownership import Whose
from reading.addresses import Address


@dataclass(frozen=True)
class Visit:
    """What one place came to: its addresses, whose it is, and for each protocol the answer and its milliseconds."""

    addresses: tuple[Address, ...] = ()
    whose: Whose = field(default_factory=Whose)
    answers: Mapping[Protocol, tuple[Answer, float]] = field(default_factory=dict)
