# SPDX-License-Identifier: Apache-2.0
"""What was asked for when servers were booted, put into their views: scheduler hints, and the zone."""

from collections.abc import Iterable

import orjson

from bfv.api.call import Call, Json
from cells import specs


def tell(call: Call, views: Iterable[Json], unsaid: Json | None = None) -> None:
    """Put what request specs say into views; ``unsaid`` are the hints of a server that has none.

    Until 2.99 views have no place for it, and in all microversions those of servers whose cell is down.
    """
    places = {view["id"]: view for view in views if "scheduler_hints" in view}
    texts = specs.texts(call.cloud.parts.api, places)
    for server_id, view in places.items():
        spec = orjson.loads(texts[server_id])["nova_object.data"] if server_id in texts else {"scheduler_hints": unsaid}
        view.update({"pinned_availability_zone": spec.get("availability_zone"),
                     "scheduler_hints": spec.get("scheduler_hints")})  # fmt: skip
