"""schemathesis: requests made from the OpenAPI document, valid and hostile ones, against the app in process.

Every check of the library is on but `positive_data_acceptance`: a well-formed id of nothing is a 404 here.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi.checks import IgnoredAuth
from schemathesis.specs.openapi.checks import positive_data_acceptance

from clients.python.generate import document, operations
from serving.access.gate import UNGUARDED, Access
from serving.access.keys import KeyFile, Scope
from serving.access.settings import AccessSettings
from serving.api.app import create_app
from tests.api.fake_service import FakeService

if TYPE_CHECKING:
    from serving.service import Service

GENERATION = GenerationConfig(modes=list(GenerationMode), deterministic=True)
REFUSALS = ["400", "401", "404", "405", "413", "415", "422", "431"]
CHECKS = ChecksConfig(negative_data_rejection=NegativeDataRejectionConfig(expected_statuses=REFUSALS))
PROJECT = ProjectConfig(generation=GENERATION, checks=CHECKS)
CONFIG = SchemathesisConfig(seed=7, projects=ProjectsConfig(default=PROJECT))


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> Any:
    """The batch endpoint's body is text: any text, or any values as lines of JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    values = value if isinstance(value, list) else [value]
    return "\n".join(json.dumps(v) for v in values).encode("utf-8", "replace")


def guarded() -> tuple[Access, str]:
    """Access by one key with every right."""
    with tempfile.TemporaryDirectory() as folder:
        file = KeyFile(Path(folder))
        token = file.create("tester", [Scope.ADMIN])
        book = file.book()
    return Access(lambda: book, AccessSettings(key_rate=None)), token


ACCESS, TOKEN = guarded()
fake = schemathesis.openapi.from_asgi(
    "/openapi.json", create_app(FakeService(), access=ACCESS), config=CONFIG
).exclude(tag="spotify")  # it shows the tracks of a real release: tests/spotify
OPERATIONS = [operation.name for operation in operations(document())]


def check(case: Case) -> None:
    case.call_and_validate(
        headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=[positive_data_acceptance]
    )


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
    )


def made_from_the_document(operation: str) -> Any:
    """A test of one operation, with the plugin's own choice of requests."""

    def test(case: Case) -> None:
        check(case)

    return fake.include(operation_id=operation).parametrize()(bounded(5)(test))


# The plugin gives all operations of a test one name, and a run on two processes takes each name once.
for own in fake.get_all_operations():
    named = own.ok().definition.raw["operationId"]
    globals()[f"test_no_request_to_{named}_made_from_the_document_finds_a_failure"] = made_from_the_document(
        named
    )


def attack(service: Service, operation: str, examples: int) -> None:
    """Valid requests of one operation against the real service, and invalid ones where there can be such."""
    app = create_app(service, access=ACCESS)
    spec = schemathesis.openapi.from_asgi("/openapi.json", app, config=CONFIG)
    found = spec.find_operation_by_id(operation)
    bounded(examples)(given(found.as_strategy(generation_mode=GenerationMode.POSITIVE))(check))()
    with contextlib.suppress(Unsatisfiable):  # any text may stand for a parameter, or there is none
        bounded(examples)(given(found.as_strategy(generation_mode=GenerationMode.NEGATIVE))(check))()


@pytest.fixture(scope="module")
def own_service(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Over a home of its own: some of the requests write into the catalog."""
    from recsys.home import Home
    from serving.service import Service

    root = shutil.copytree(tiny_root, tmp_path_factory.mktemp("attacked") / "home")
    with Service.open(Home.of(root), background=False) as service:
        yield service


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_request_finds_a_failure_of_the_real_service(own_service: Service, operation: str) -> None:
    attack(own_service, operation, 3)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_many_requests_find_no_failure_of_the_real_service(own_service: Service, operation: str) -> None:
    attack(own_service, operation, 50)


def test_the_checks_notice_a_write_that_is_open() -> None:
    """Against an app that does not guard what its document says is guarded."""
    app = create_app(FakeService(), access=UNGUARDED)
    spec = schemathesis.openapi.from_asgi("/openapi.json", app, config=CONFIG)
    strategy = spec.find_operation_by_id("events").as_strategy(generation_mode=GenerationMode.POSITIVE)
    with pytest.raises(FailureGroup) as found:
        bounded(5)(given(strategy)(check))()
    assert any(isinstance(failure, IgnoredAuth) for failure in found.value.exceptions)
