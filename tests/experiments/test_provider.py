"""OpenFeature's own client over our provider: values, reasons, errors, exposures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.assign import assign
from experiments.config import Config
from experiments.exposure import Exposure

openfeature = pytest.importorskip("openfeature", reason="openfeature-sdk is not installed (extra `flags`)")
from openfeature import api  # noqa: E402
from openfeature.evaluation_context import EvaluationContext  # noqa: E402

NOW = 1_764_547_200_000
CONFIG = Config.model_validate(
    {
        "layers": [{"name": "radio"}],
        "overrides": [{"unit": "tester", "experiment": "colour", "arm": "blue"}],
        "experiments": [
            {"name": "new-page", "salt": "p", "arms": [{"name": "on", "weight": 1, "value": True}]},
            {
                "name": "colour",
                "salt": "c",
                "targeting": {"country": "SE"},
                "arms": [
                    {"name": "red", "weight": 0.5, "value": "#f00"},
                    {"name": "blue", "weight": 0.5, "value": "#00f"},
                ],
            },
            {
                "name": "epsilon",
                "salt": "e",
                "arms": [
                    {"name": "control", "weight": 0.5},
                    {"name": "more", "weight": 0.5, "parameters": {"home.epsilon": 0.2}},
                ],
            },
            *(
                {
                    "name": f"slice-{start}",
                    "salt": f"slice-{start}",
                    "layer": {"name": "radio", "start": start, "end": start + 0.5},
                    "arms": [{"name": "all", "weight": 1, "parameters": {"radio.skip_weight": start}}],
                }
                for start in (0.0, 0.5)
            ),
            {
                "name": "draft",
                "salt": "d",
                "active": False,
                "arms": [{"name": "on", "weight": 1, "value": True}],
            },
            {
                "name": "session",
                "salt": "s",
                "unit": "session",
                "arms": [{"name": "on", "weight": 1, "value": 3}],
            },
        ],
    }
)


@pytest.fixture
def shown() -> Iterator[list[Exposure]]:
    from experiments.provider import Provider

    rows: list[Exposure] = []
    api.set_provider(Provider(lambda: CONFIG, rows.append, lambda: NOW))
    yield rows
    api.clear_providers()


def of(user: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(user, attributes)


def test_a_flag_is_a_value_for_everybody(shown: list[Exposure]) -> None:
    details = api.get_client().get_boolean_details("new-page", False, of("u1"))
    assert (details.value, details.variant, str(details.reason)) == (True, "on", "STATIC")
    assert shown == [Exposure("new-page", "on", "u1", "listener", CONFIG.version, None, None, NOW)]


def test_a_client_sees_the_arm_that_serving_assigns(shown: list[Exposure]) -> None:
    client = api.get_client()
    for i in range(200):
        user = f"user-{i}"
        arms = assign(CONFIG, user, NOW, {"country": "SE"}).arms
        colour = client.get_string_details("colour", "none", of(user, country="SE"))
        assert colour.variant == arms["colour"]
        assert colour.value == {"red": "#f00", "blue": "#00f"}[arms["colour"]]
        epsilon = client.get_float_value("home.epsilon", 0.05, of(user))
        assert epsilon == (0.2 if arms["epsilon"] == "more" else 0.05)
    assert len(shown) == 400


def test_a_parameter_of_two_slices_of_a_layer_is_answered_by_the_slice_that_the_unit_is_in(
    shown: list[Exposure],
) -> None:
    client = api.get_client()
    found = {
        client.get_float_value("radio.skip_weight", -1.0, EvaluationContext(f"unit-{i}")) for i in range(30)
    }
    assert found == {0.0, 0.5}
    assert len(shown) == 30


def test_who_is_not_targeted_gets_the_default_and_is_not_exposed(shown: list[Exposure]) -> None:
    details = api.get_client().get_string_details("colour", "none", of("u1", country="DE"))
    assert (details.value, str(details.reason), details.flag_metadata["why"]) == (
        "none",
        "DEFAULT",
        "not targeted",
    )
    assert shown == []


def test_an_override_is_marked_where_it_is_exposed(shown: list[Exposure]) -> None:
    assert api.get_client().get_string_value("colour", "none", of("tester", country="DE")) == "#00f"
    assert [row.overridden for row in shown] == [True]


@pytest.mark.parametrize(
    ("key", "user", "code"),
    [
        ("nothing", "u1", "FLAG_NOT_FOUND"),
        ("new-page", None, "TARGETING_KEY_MISSING"),
        ("colour", "tester", "TYPE_MISMATCH"),
    ],
)
def test_what_cannot_be_answered_is_the_default_with_its_code(
    key: str, user: str | None, code: str, shown: list[Exposure]
) -> None:
    details = api.get_client().get_boolean_details(key, False, of(user))
    assert (details.value, str(details.reason)) == (False, "ERROR")
    assert details.error_code is not None
    assert details.error_code.value == code
    assert shown == []


def test_a_draft_is_disabled(shown: list[Exposure]) -> None:
    details = api.get_client().get_boolean_details("draft", False, of("u1"))
    assert (details.value, str(details.reason)) == (False, "DISABLED")


def test_objects_numbers_and_asynchronous_calls(shown: list[Exposure]) -> None:
    client = api.get_client()
    user = next(u for u in map(str, range(100)) if assign(CONFIG, u, NOW).arms["epsilon"] == "more")
    assert client.get_object_value("epsilon", {}, of(user)) == {"home.epsilon": 0.2}
    assert client.get_integer_value("session", 0, of("s1", user_id="u1")) == 3
    assert asyncio.run(client.get_boolean_value_async("new-page", False, of(user))) is True
    assert [row.unit_kind for row in shown] == ["listener", "session", "listener"]
