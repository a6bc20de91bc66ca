"""schemathesis over the drop-in: whatever is asked, answers and errors are what the OpenAPI document says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

from serving.api.app import create_app
from serving.api.spotify import PREFIX

if TYPE_CHECKING:
    from schemathesis import Case

    from serving.service import Service

OPERATIONS = [
    "recommendations",
    "genre_seeds",
    "several_audio_features",
    "audio_features",
    "audio_analysis",
    "artists",
    "artist",
    "top_tracks",
    "related_artists",
    "tracks",
    "track",
    "album",
    "album_tracks",
]


@pytest.fixture(scope="module")
def schema(tiny_service: Service) -> Any:
    import schemathesis
    from schemathesis.config import (
        ChecksConfig,
        GenerationConfig,
        ProjectConfig,
        ProjectsConfig,
        SchemathesisConfig,
    )
    from schemathesis.config._checks import NegativeDataRejectionConfig

    refusals = NegativeDataRejectionConfig(expected_statuses=["400", "404", "405", "431"])
    project = ProjectConfig(
        generation=GenerationConfig(modes=list(schemathesis.GenerationMode), deterministic=True),
        checks=ChecksConfig(negative_data_rejection=refusals),
    )
    config = SchemathesisConfig(seed=7, projects=ProjectsConfig(default=project))
    app = create_app(tiny_service)
    yield schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    tiny_service.observers.clear()


def test_the_document_lists_every_operation_and_no_422(schema: Any) -> None:
    found = {
        operation["operationId"]: operation
        for path, methods in schema.raw_schema["paths"].items()
        if path.startswith(PREFIX)
        for operation in methods.values()
    }
    assert set(found) == {f"spotify_{name}" for name in OPERATIONS}
    assert all("422" not in operation["responses"] for operation in found.values())
    assert len(found["spotify_recommendations"]["parameters"]) == 6 + 3 * 14


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_request_finds_a_failure(schema: Any, name: str) -> None:
    from schemathesis import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def check(case: Case) -> None:  # a well-formed id of nothing is a 404
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    operation = schema.find_operation_by_id(f"spotify_{name}")
    few = settings(max_examples=4, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    for mode in GenerationMode:
        with contextlib.suppress(Unsatisfiable):  # any text may stand for a parameter, or there is none
            few(given(operation.as_strategy(generation_mode=mode))(check))()
