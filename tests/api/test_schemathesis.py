"""schemathesis: requests made from the OpenAPI document, valid and hostile ones, against the app in process.

Every check of the library is on but `positive_data_acceptance`: a well-formed id of nothing is a 404 here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serving.access.gate import Access
from serving.access.keys import KeyFile, Scope
from serving.api.app import create_app
from tests.api.fake_service import FakeService

if TYPE_CHECKING:
    from serving.service import Service

GENERATION = GenerationConfig(modes=list(GenerationMode), deterministic=True)
CONFIG = SchemathesisConfig(seed=7, projects=ProjectsConfig(default=ProjectConfig(generation=GENERATION)))


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> Any:
    """The batch endpoint's body is text."""
    return str(value).encode("utf-8", "replace")


def guarded() -> tuple[Access, str]:
    """Access by one key with every right."""
    with tempfile.TemporaryDirectory() as folder:
        file = KeyFile(Path(folder))
        token = file.create("tester", [Scope.ADMIN])
        book = file.book()
    return Access(lambda: book), token


ACCESS, TOKEN = guarded()
fake = schemathesis.openapi.from_asgi(
    "/openapi.json", create_app(FakeService(), access=ACCESS), config=CONFIG
)
OPERATIONS = [found.ok().definition.raw["operationId"] for found in fake.get_all_operations()]


def check(case: Case) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=[positive_data_acceptance]
    )


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )


@fake.parametrize()
@bounded(10)
def test_no_request_made_from_the_document_finds_a_failure(case: Case) -> None:
    check(case)


def attack(service: Service, operation: str, examples: int) -> None:
    """Valid and invalid requests of one operation against the real service."""
    app = create_app(service, access=ACCESS)
    document = schemathesis.openapi.from_asgi("/openapi.json", app, config=CONFIG)
    for mode in GenerationMode:
        strategy = document.find_operation_by_id(operation).as_strategy(generation_mode=mode)
        bounded(examples)(given(strategy)(check))()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_finds_a_failure_of_the_real_service(tiny_service: Service, operation: str) -> None:
    attack(tiny_service, operation, 5)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_many_requests_find_no_failure_of_the_real_service(tiny_service: Service, operation: str) -> None:
    attack(tiny_service, operation, 200)
