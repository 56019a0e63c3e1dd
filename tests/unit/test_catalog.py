"""Every service of the catalog has all that a service needs: run this after each step of adding one."""

from __future__ import annotations

import json
import re

import pytest

from catalog import FINDABLE, HOST_COMMAND, PROVIDERS, SERVICES, Findable, Provider, Service, volume_name
from components.stack import COMPONENTS
from discovery.fingerprints import FINGERPRINTS
from planning.models import DEFAULTS
from settings import SECRET_KEYS, VARIABLES
from tests.builders import ROOT
from tests.scenarios.states import ALL
from toolchain.images.recipes import RECIPES

EACH = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
# What may be somebody else's: all but what is always a stack's own.
REUSABLE = pytest.mark.parametrize(
    "service",
    [one for one in FINDABLE.values() if not (isinstance(one, Service) and one.always_own)],
    ids=lambda one: one.name,
)
LOOKED_FOR = pytest.mark.parametrize("service", FINDABLE.values(), ids=FINDABLE)


def told(page: str, word: str) -> bool:
    """Whether `word` stands in `page` of docs/ as a word of its own."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


@LOOKED_FOR
def test_a_service_proves_itself_in_a_fingerprint_of_its_protocol(service: Findable) -> None:
    assert (service.protocol, service.scheme) in FINGERPRINTS, "add it in discovery/fingerprints/"
    assert told("fingerprints.md", service.title), "say in docs/fingerprints.md how it proves itself"


@EACH
def test_a_service_has_a_component(service: Service) -> None:
    assert service.name in COMPONENTS, "name its component in components/stack.py"


def test_no_component_is_left_of_a_service_that_is_gone() -> None:
    assert COMPONENTS.keys() == SERVICES.keys()


@EACH
def test_a_service_has_an_image_and_a_way_to_it_without_a_registry(service: Service) -> None:
    entry = json.loads((ROOT / "images" / "references.json").read_text()).get(service.name)
    assert entry, "name its image in images/references.json"
    assert entry["reference"] or entry["build"], "name its image in images/references.json"
    assert entry["recipe"] in RECIPES, "write its recipe in images/offline/, and name it in RECIPES"


@REUSABLE
def test_a_service_that_may_be_somebody_elses_is_looked_for_and_can_be_named(service: Findable) -> None:
    assert service.images, "say which images run it"
    assert service.known_ports, "say where it commonly listens"
    assert service.variables, "say by which variable the operator names it"
    for variable in service.variables:
        assert variable in (ROOT / ".env.template").read_text(), f"{variable} is not in .env.template"
        assert told("configuration.md", variable), "write docs/configuration.md anew: make docs"


@REUSABLE
def test_a_service_that_may_be_somebody_elses_has_scenarios(service: Findable) -> None:
    names = (service.name, service.title, *service.variables)
    assert any(name in row.name for row in ALL for name in names), "add states to tests/scenarios/states/"


@LOOKED_FOR
def test_a_services_secrets_can_be_set(service: Findable) -> None:
    own = service.own_secrets if isinstance(service, Service) else ()
    keys = {*own, *({service.secret_key} if service.secret_key else ())}
    assert keys <= set(SECRET_KEYS), "name its secret in settings/secrets.py"


@EACH
def test_whom_a_service_names_is_in_the_catalog(service: Service) -> None:
    assert {*service.needs, *({service.of_no_use_without} if service.of_no_use_without else ())} <= FINDABLE.keys()


@EACH
def test_a_service_is_named_where_people_look(service: Service) -> None:
    assert told("stacks.md", service.name), "let a stack run it, and write docs/stacks.md anew: make docs"
    assert service.title in (ROOT / "docs/interface.md").read_text() or told("interface.md", service.name)


def test_what_is_only_ever_found_is_no_service_that_a_stack_runs() -> None:
    assert FINDABLE.keys() - SERVICES.keys() == {"models"}
    assert told("interface.md", "models")


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_a_provider_has_a_model_for_every_name_and_its_key_can_be_set(provider: Provider) -> None:
    assert DEFAULTS[provider.name].keys() == DEFAULTS["anthropic"].keys(), "write its models in planning/models.py"
    assert provider.secret_key in SECRET_KEYS
    assert VARIABLES[provider.variable] == provider.secret_key
    assert provider.variable in (ROOT / ".env.template").read_text(), f"{provider.variable} is not in .env.template"


def test_no_name_can_be_taken_for_another_ones() -> None:
    """A resource, a container or a volume of one service must not be another's by its name."""
    names = [*SERVICES, *(f"{name}-files" for name in SERVICES), *(f"{name}{HOST_COMMAND}" for name in SERVICES)]
    assert len(set(names)) == len(names)
    volumes = [volume_name("dev", name) for name in SERVICES]
    assert len(set(volumes)) == len(volumes)
