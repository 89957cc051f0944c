# SPDX-License-Identifier: Apache-2.0
"""What was asked for at the boots of servers, taken out of their request specs by the database."""

import json

import pytest

from cells import create_api, encode
from cells.schema_api import request_specs
from cells.specs import Asked, asked
from cells.types import Flavor

WORDS = {"project_id": "p", "user_id": "u", "flavor": Flavor(1, "f", "f", 1, 1, 1), "image": None, "is_bfv": True}


@pytest.fixture
def api(database_url, open_database):
    database = open_database("api", database_url("api"))
    create_api(database)
    return database


def test_zone_and_hints_are_told_of_each_that_has_a_spec(api):
    hints = {"group": ["g"], "q": ["a", '"']}
    specs = {
        "both": encode.request_spec(server_id="both", availability_zone='"ä', scheduler_hints=hints, **WORDS),
        "neither": encode.request_spec(server_id="neither", **WORDS),
        "null": {"nova_object.data": {"availability_zone": None, "scheduler_hints": None}},
        "older": {"nova_object.data": {}},
    }
    with api.writer() as conn:
        for server_id, spec in specs.items():
            conn.execute(request_specs.insert().values(instance_uuid=server_id, spec=json.dumps(spec)))
    assert asked(api, [*specs, "none"]) == {
        "both": Asked('"ä', hints),
        "neither": Asked(None, {}),
        "null": Asked(None, None),
        "older": Asked(None, None),
    }
    assert asked(api, []) == {}
