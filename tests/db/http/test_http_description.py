"""The API against its own OpenAPI document, with requests that schemathesis makes up."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.build import make_agent
from tests.db.http.conftest import CSRF
from zango_ai.api.openapi import openapi

SCHEMA = schemathesis.openapi.from_dict(openapi("/ai"))
SCHEMA.config.generation.update(with_security_parameters=False)  # the test logs in
OPERATIONS = {
    f"{operation.method} {operation.path}": operation
    for operation in (result.ok() for result in SCHEMA.get_all_operations())
}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_each_answer_is_as_described(model, ports, cookies, name, mode):
    make_agent(model, is_public_api=True, short_term_memory=True)
    operation = OPERATIONS[name]
    base_url = f"http://127.0.0.1:{ports['gunicorn']}/ai"

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    def each_answer_is_as_described(case):
        if "name" in case.path_parameters:
            case.path_parameters["name"] = "helper"
        headers = {"X-CSRFToken": CSRF}
        # What a schema cannot say is a 400, such as a chat message without text.
        case.call_and_validate(
            base_url=base_url, cookies=cookies, headers=headers, excluded_checks=[positive_data_acceptance]
        )

    each_answer_is_as_described()
