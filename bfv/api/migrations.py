# SPDX-License-Identifier: Apache-2.0
"""Conversions off nova's rbd backend, which nova has no calls for: plan, run as a job, status, undo, purge.

Admins alone begin them, as what they change is the operator's; whoever may see a server sees how its conversion is.
"""

import dataclasses
import datetime as dt
from typing import Any

from bfv.api import listing
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.shapes import HOST, LARGEST, PROJECT, object_of, query_of
from bfv.migrate import job, report
from bfv.migrate.look import Selection
from bfv.migrate.plan import WAYS, Plan

PREFIX, RULE = "/bfv/migrations", "bfv:migrations"
ON, OF_SERVER = "/bfv/servers/{server_id}/migration", "bfv:servers:migration"
MOST = 1000
TEXT = {"type": "string", "minLength": 1, "maxLength": 255}
BOOLEAN = {"type": "boolean"}
UUID = {"type": "string", "format": "uuid"}
# Which servers: one of these, or `all`.
WHICH: dict[str, Any] = {"project_id": PROJECT, "host": HOST, "cell": TEXT}
WINDOW = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"}


def plan(call: Call) -> Answer:
    """Show how each chosen server would be converted, or what stands against it; touches nothing."""
    asked = {name: values[0] for name, values in call.query.items()}
    everybody = listing.is_true(asked.get("all", "false"))
    chosen = _selection({**asked, "servers": call.query.get("server", []), "all": everybody})
    return Answer({"plans": [_plan_view(each) for each in call.cloud.migrations.plan(chosen)]})


def run(call: Call) -> Answer:
    """Start to convert servers as a job."""
    asked = call.body["migration"]
    how = {
        "name": asked.get("wave", "1"),
        "limit": asked.get("limit"),
        "workers": asked.get("workers", 4),
        "window": asked.get("window"),
        "stop_and_start": asked.get("stop_and_start", False),
        "failure_budget": asked.get("failure_budget", 3),
    }
    made = call.cloud.migrations.run(_selection(asked), how, call.caller, rehearse=asked.get("rehearse", True))
    return Answer({"job": _job_view(made)}, headers={"Location": call.url(f"{PREFIX}/jobs/{made.id}")})


def states(call: Call) -> Answer:
    """Show where each conversion is, of some servers or a wave or of all."""
    found = call.cloud.migrations.states(call.query.get("server", ()), call.asked("wave"))
    return Answer({"migrations": [_state_view(each) for each in found]})


def jobs(call: Call) -> Answer:
    """List the jobs that convert servers."""
    found = call.cloud.migrations.jobs()
    return Answer({"jobs": [{name: value for name, value in _job_view(each).items() if name != "servers"}
                            for each in found]})  # fmt: skip


def show_job(call: Call) -> Answer:
    """Show how far a job is."""
    return Answer({"job": _job_view(call.cloud.migrations.job(call.ids["job_id"]))})


def stop_job(call: Call) -> Answer:
    """Have a job begin no more servers."""
    call.cloud.migrations.stop(call.ids["job_id"])
    return Answer()


def purge_wave(call: Call) -> Answer:
    """Start to release the old disks of all converted servers of a wave."""
    return Answer({"servers": call.cloud.migrations.purge_wave(call.body["purge"]["wave"])})


def of_server(call: Call) -> Answer:
    """Show how the conversion of a server is."""
    return Answer({"migration": _of_server(call)})


def undo(call: Call) -> Answer:
    """Start to bring a converted server back to its old disk."""
    asked = call.body["undo"] or {}
    call.cloud.migrations.undo(call.ids["server_id"], stop=asked.get("stop_and_start", False),
                               discard_writes=asked.get("discard_writes", False))  # fmt: skip
    return Answer({"migration": _of_server(call)})


def purge(call: Call) -> Answer:
    """Start to release what is left of a server's old disk."""
    call.cloud.migrations.purge(call.ids["server_id"])
    return Answer({"migration": _of_server(call)})


def _of_server(call: Call) -> Json:
    info = call.cloud.server(call.ids["server_id"], call.caller)
    found = call.cloud.migrations.states([info.id])
    if not found:
        raise Fault(404, f"Server {info.id} was never converted.")
    view = _state_view(found[0])
    if not call.is_admin:
        # Names of waves, pools and hosts are the operator's.
        del view["wave"], view["way"], view["why"]
    return view


def _selection(asked: Json) -> Selection:
    """Return which servers are asked for. Raises Fault 400 unless they are named in one way."""
    named = [name for name in ("servers", "all", *WHICH) if asked.get(name)]
    if len(named) != 1:
        raise Fault(400, "Name servers, a project_id, a host or a cell, or all: one of these.")
    only = {name: asked.get(name) for name in WHICH}
    return Selection(tuple(asked.get("servers") or ()), **only, tier=asked.get("tier", "default"), way=asked.get("way"))


def _plan_view(told: Plan) -> Json:
    return dataclasses.asdict(told)


def _state_view(told: report.State) -> Json:
    return {**vars(told), "since": _moment(told.since)}


def _job_view(told: job.State) -> Json:
    return {**vars(told), "created_at": _moment(told.created_at), "closed_at": _moment(told.closed_at)}


def _moment(when: dt.datetime | None) -> str | None:
    return f"{when.isoformat(timespec='seconds')}Z" if when else None


def run_body(_version: int) -> Json:
    """Return what a run takes."""
    count = {"type": "integer", "minimum": 1}
    words = {
        **WHICH,
        "servers": {"type": "array", "items": UUID, "minItems": 1, "maxItems": MOST, "uniqueItems": True},
        "all": {"const": True},
        "tier": TEXT,
        "way": {"enum": list(WAYS)},
        "wave": TEXT,
        "limit": {**count, "maximum": LARGEST},
        "workers": {**count, "maximum": 64},
        "window": WINDOW,
        "stop_and_start": BOOLEAN,
        "failure_budget": {**count, "maximum": 1000},
        "rehearse": BOOLEAN,
    }
    return object_of(("migration",), migration=object_of((), **words))


def purge_body(_version: int) -> Json:
    """Return what the purge of a wave takes."""
    return object_of(("purge",), purge=object_of(("wave",), wave=TEXT))


def an_undo(_version: int) -> Json:
    """Return what the undo of a conversion takes."""
    how = object_of((), stop_and_start=BOOLEAN, discard_writes=BOOLEAN)
    return object_of(("undo",), undo={**how, "type": ["object", "null"]})


def a_purge(_version: int) -> Json:
    """Return what the purge of a server takes."""
    return object_of(("purge",), purge={"type": "null"})


_CHOICE = query_of(0, server=UUID, all=TEXT, **WHICH, tier=TEXT, way={"enum": list(WAYS)})
ROUTES = (
    Route("GET", f"{PREFIX}/plan", plan, f"{RULE}:plan", query=_CHOICE),
    Route("POST", PREFIX, run, f"{RULE}:run", code=202, body=run_body),
    Route("GET", PREFIX, states, f"{RULE}:index", query=query_of(0, server=UUID, wave=TEXT)),
    Route("POST", f"{PREFIX}/action", purge_wave, f"{RULE}:purge", code=202, body=purge_body, action="purge"),
    Route("GET", f"{PREFIX}/jobs", jobs, f"{RULE}:jobs:index", query=query_of()),
    Route("GET", f"{PREFIX}/jobs/{{job_id}}", show_job, f"{RULE}:jobs:show", query=query_of()),
    Route("DELETE", f"{PREFIX}/jobs/{{job_id}}", stop_job, f"{RULE}:jobs:stop", code=202),
    Route("GET", ON, of_server, f"{OF_SERVER}:show", query=query_of()),
    Route("POST", f"{ON}/action", undo, f"{OF_SERVER}:undo", code=202, body=an_undo, action="undo"),
    Route("POST", f"{ON}/action", purge, f"{OF_SERVER}:purge", code=202, body=a_purge, action="purge"),
)
