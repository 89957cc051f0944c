# SPDX-License-Identifier: Apache-2.0
"""What projects used in a time (``nova/api/openstack/compute/simple_tenant_usage.py``).

Nova adds up the cells that answer, or fails; here the header ``Warning`` says that cells are missing.
"""

import datetime as dt
import itertools
from collections.abc import Iterable

from bfv.api import schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import next_link, page_limit
from bfv.api.shapes import query_of
from bfv.errors import NotMapped
from bfv.tenantusage import Used
from bfv.types import utcnow
from cells.spans import Span

ADDRESS, RULE = "/os-simple-tenant-usage", "os-simple-tenant-usage"
PAGED = 40
FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")
_HOUR = dt.timedelta(hours=1)
index_query = query_of(start=schemas.TEXT, end=schemas.TEXT, detailed=schemas.TEXT, **schemas.PAGE)
show_query = query_of(start=schemas.TEXT, end=schemas.TEXT, **schemas.PAGE)


def index(call: Call) -> Answer:
    """Tell what all projects used."""
    start, stop = _period(call)
    used, limit = _used(call, start, stop, None)
    detailed = call.asked("detailed") == "1"
    projects = [
        _summary(project_id, [*of_it], start, stop, detailed=detailed)
        for project_id, of_it in itertools.groupby(used.spans, key=lambda span: span.project_id)
    ]
    return _answer(call, "tenant_usages", projects, used, limit)


def show(call: Call) -> Answer:
    """Tell what one project used: one's own, or, for admins, another one."""
    project_id = call.ids["project_id"]
    if project_id != call.caller.project_id and not call.is_admin:
        raise Fault(403, f"Policy doesn't allow os_compute_api:{RULE}:show to be performed.")
    start, stop = _period(call)
    used, limit = _used(call, start, stop, project_id)
    usage = _summary(project_id, used.spans, start, stop, detailed=True) if used.spans else {}
    return _answer(call, "tenant_usage", usage, used, limit)


def _answer(call: Call, name: str, usage: Json | list[Json], used: Used, limit: int | None) -> Answer:
    body: Json = {name: usage}
    if limit and len(used.spans) == limit:
        body[f"{name}_links"] = [next_link(call, used.spans[-1].uuid)]
    names = f": {', '.join(sorted(used.down))}" if call.is_admin else ""
    told = f'199 bfv "{len(used.down)} cells give no answer, what ran there is not counted{names}"'
    return Answer(body, headers={"Warning": told} if used.down else {})


def _used(call: Call, start: dt.datetime, stop: dt.datetime, project_id: str | None) -> tuple[Used, int | None]:
    """Return what ran in the time, and how much a page of it may have: all, before there were pages."""
    limit = page_limit(call) if call.version >= PAGED else None
    marker = call.asked("marker") if call.version >= PAGED else None
    try:
        return call.cloud.used(start, min(stop, utcnow()), project_id, limit=limit, marker=marker), limit
    except NotMapped as error:
        raise Fault(400, f"Marker {marker} could not be found.") from error


def _period(call: Call) -> tuple[dt.datetime, dt.datetime]:
    """Return the time that is asked for, in naive UTC, until now at most. Raises Fault 400."""
    now = utcnow()
    start, stop = _moment(call.asked("start"), now), _moment(call.asked("end"), now)
    if start >= stop:
        raise Fault(400, "Invalid start time. The start time cannot occur after the end time.")
    return start, min(stop, now)


def _moment(text: str | None, now: dt.datetime) -> dt.datetime:
    if not text:
        return now
    for form in FORMS:
        try:
            return dt.datetime.strptime(text, form)
        except ValueError:
            continue
    raise Fault(400, "Invalid datetime string: Datetime is in invalid format")


def _summary(project_id: str, spans: Iterable[Span], start: dt.datetime, stop: dt.datetime, *, detailed: bool) -> Json:
    servers = [_server(span, start, stop) for span in spans]

    def total(name: str) -> float:
        return sum((each[name] * each["hours"] for each in servers), 0.0)

    summary: Json = {
        "tenant_id": project_id,
        "total_local_gb_usage": total("local_gb"),
        "total_vcpus_usage": total("vcpus"),
        "total_memory_mb_usage": total("memory_mb"),
        "total_hours": sum((each["hours"] for each in servers), 0.0),
        "start": _text(start),
        "stop": _text(stop),
    }
    return {**summary, "server_usages": servers} if detailed else summary


def _server(span: Span, start: dt.datetime, stop: dt.datetime) -> Json:
    until = min(stop, span.terminated_at or stop)
    return {
        "hours": max(until - max(start, span.launched_at), dt.timedelta()) / _HOUR,
        "flavor": span.flavor,
        "instance_id": span.uuid,
        "name": span.name,
        "tenant_id": span.project_id,
        "memory_mb": span.memory_mb,
        "local_gb": span.local_gb,
        "vcpus": span.vcpus,
        "started_at": _text(span.launched_at),
        "ended_at": _text(span.terminated_at) if span.terminated_at else None,
        "state": "terminated" if span.terminated_at else span.vm_state,
        "uptime": int(((span.terminated_at or utcnow()) - span.launched_at).total_seconds()),
    }


def _text(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")


ROUTES = (
    Route("GET", ADDRESS, index, f"{RULE}:list", query=index_query),
    Route("GET", f"{ADDRESS}/{{project_id}}", show, f"{RULE}:show", query=show_query),
)
