"""The REST API keeps what its schema promises, whatever is sent to it."""

from typing import Any

import pytest
import schemathesis
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.talking import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]

schema = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))
operations = {found.ok().label: found.ok() for found in schema.get_all_operations()}


POSITIVE, NEGATIVE = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
ASKED = [(label, POSITIVE) for label in operations] + [
    # Without parameters and without a body nothing can be wrong.
    (label, NEGATIVE)
    for label, operation in operations.items()
    if operation.path_parameters or operation.body
]


@pytest.mark.parametrize("examples", [10, pytest.param(50, marks=pytest.mark.lasting)])
@pytest.mark.parametrize(("label", "mode"), ASKED, ids=lambda part: getattr(part, "value", part))
def test_every_operation_does_what_it_promises(
    label: str, mode: schemathesis.GenerationMode, examples: int, server: Server
) -> None:
    operation = operations[label]

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps_it(case: "schemathesis.Case[Any]") -> None:
        case.call_and_validate(base_url=server.origin, checks=CHECKS)

    keeps_it()


@pytest.mark.parametrize("label", [name for name in operations if name.startswith("GET ")])
def test_what_is_there_is_reported_as_promised(label: str, server: Server) -> None:
    """Made-up names seldom hit one that exists."""
    names = {"user_id": "presenter", "clip": "idle_0"}
    case = operations[label].Case(
        path_parameters={name: value for name, value in names.items() if name in label}
    )
    case.call_and_validate(base_url=server.origin, checks=CHECKS)


def test_all_that_clients_know_is_described() -> None:
    assert set(operations) >= {
        "GET /health",
        "GET /sessions",
        "GET /avatars",
        "GET /avatars/{user_id}",
        "POST /prepare_avatar/{user_id}",
        "GET /prepare_avatar/{user_id}",
        "DELETE /prepare_avatar/{user_id}",
        "POST /upload_video",
        "GET /processing_status/{user_id}",
    }
