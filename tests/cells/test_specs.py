# SPDX-License-Identifier: Apache-2.0
"""The request specs of many servers, read as they were written."""

import json

from cells import create_api
from cells.schema_api import request_specs
from cells.specs import texts


def test_the_specs_of_those_that_have_one_are_read(database_url, open_database):
    api = open_database("api", database_url("api"))
    create_api(api)
    written = {server_id: json.dumps({"id": server_id, "why": '"ä'}) for server_id in ("a", "b", "c")}
    with api.writer() as conn:
        for server_id, spec in written.items():
            conn.execute(request_specs.insert().values(instance_uuid=server_id, spec=spec))
    assert texts(api, ["a", "none", "c"]) == {"a": written["a"], "c": written["c"]}
    assert texts(api, []) == {}
