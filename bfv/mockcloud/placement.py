# SPDX-License-Identifier: Apache-2.0
"""Not a placement service: providers, what they have, and who is counted for how much of it, with its generations.

It is not in the catalog, as a cloud without nova has none; who wants it names its address. Only what a client at
microversion 1.28 needs (``placement/handlers/allocation.py``, ``inventory.py``, ``resource_provider.py``).
"""

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bfv.mockcloud.wire import Refusal, Request, Response, Route, request_id

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

MINOR = 28
CONCURRENT = "placement.concurrent_update"
_TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 406: "Not Acceptable",
           409: "Conflict"}  # fmt: skip


@dataclass
class Provider:
    """A host, or what shares its disks; ``inventory`` is how much it has by class."""

    id: str
    name: str
    generation: int = 0
    inventory: dict[str, int] = field(default_factory=dict)


@dataclass
class Consumer:
    """A server; ``amounts`` are by provider and class."""

    project_id: str
    user_id: str
    generation: int
    amounts: dict[str, dict[str, int]]


@dataclass
class Placement:
    """The rows of the service."""

    providers: dict[str, Provider] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)


def failed(_cloud: "Cloud", _request: Request, refusal: Refusal) -> Response:
    """Return placement's body of a refusal."""
    code = refusal.more or "placement.undefined_code"
    error = {"status": refusal.status, "title": _TITLES.get(refusal.status, ""), "detail": refusal.message,
             "code": code, "request_id": request_id()}  # fmt: skip
    return Response(refusal.status, {"errors": [error]})


def create_provider(cloud: "Cloud", request: Request) -> Response:
    """Make a provider."""
    _check_version(request)
    given = request.json()
    made = Provider(given.get("uuid") or str(uuid.uuid4()), given["name"])
    cloud.placement.providers[made.id] = made
    return Response(200, {"uuid": made.id, "name": made.name, "generation": made.generation})


def show_provider(cloud: "Cloud", request: Request) -> Response:
    """Show a provider."""
    _check_version(request)
    found = _provider(cloud, request.ids["provider"], 404)
    return Response(200, {"uuid": found.id, "name": found.name, "generation": found.generation})


def put_inventories(cloud: "Cloud", request: Request) -> Response:
    """Write what a provider has."""
    _check_version(request)
    provider = _provider(cloud, request.ids["provider"], 404)
    given = request.json()
    if given["resource_provider_generation"] != provider.generation:
        raise Refusal(409, "resource provider generation conflict", more=CONCURRENT)
    provider.generation += 1
    provider.inventory = {kind: each["total"] for kind, each in given["inventories"].items()}
    return Response(200, {"resource_provider_generation": provider.generation, "inventories": given["inventories"]})


def show_allocations(cloud: "Cloud", request: Request) -> Response:
    """Show what a consumer is counted for."""
    _check_version(request)
    consumer = cloud.placement.consumers.get(request.ids["consumer"])
    if consumer is None:
        return Response(200, {"allocations": {}})
    allocations = {key: {"generation": cloud.placement.providers[key].generation, "resources": dict(amounts)}
                   for key, amounts in consumer.amounts.items()}  # fmt: skip
    return Response(200, {"allocations": allocations, "consumer_generation": consumer.generation,
                          "project_id": consumer.project_id, "user_id": consumer.user_id})  # fmt: skip


def put_allocations(cloud: "Cloud", request: Request) -> Response:
    """Count a consumer for other amounts than before; none at all removes it."""
    _check_version(request)
    key, given, rows = request.ids["consumer"], request.json(), cloud.placement
    old = rows.consumers.get(key)
    generation = old.generation if old else None
    if given["consumer_generation"] != generation:
        detail = f"consumer generation conflict - expected {_word(generation)} but got {given['consumer_generation']}"
        raise Refusal(409, detail, more=CONCURRENT)
    amounts = {where: dict(each["resources"]) for where, each in given["allocations"].items()}
    _check_room(cloud, key, amounts)
    for where in {*amounts, *(old.amounts if old else ())}:
        rows.providers[where].generation += 1
    if amounts:
        rows.consumers[key] = Consumer(given["project_id"], given["user_id"], (generation or 0) + 1, amounts)
    else:
        rows.consumers.pop(key, None)
    return Response(204)


def delete_allocations(cloud: "Cloud", request: Request) -> Response:
    """Count a consumer no more."""
    if cloud.placement.consumers.pop(request.ids["consumer"], None) is None:
        raise Refusal(404, f"No allocations for consumer '{request.ids['consumer']}'")
    return Response(204)


def _word(generation: int | None) -> str:
    return "null" if generation is None else str(generation)


def _check_room(cloud: "Cloud", key: str, amounts: dict[str, dict[str, int]]) -> None:
    """Refuse what a provider does not have beside what it is used for by others."""
    for where, kinds in amounts.items():
        provider = _provider(cloud, where, 400)
        for kind, amount in kinds.items():
            used = sum(each.amounts.get(where, {}).get(kind, 0)
                       for other, each in cloud.placement.consumers.items() if other != key)  # fmt: skip
            if kind not in provider.inventory or used + amount > provider.inventory[kind]:
                words = "Unable to allocate inventory: Unable to create allocation for"
                raise Refusal(409, f"{words} '{kind}' on resource provider '{where}'.")


def _provider(cloud: "Cloud", key: str, status: int) -> Provider:
    found = cloud.placement.providers.get(key)
    if found is None:
        raise Refusal(status, f"No resource provider with uuid {key} found")
    return found


def _check_version(request: Request) -> None:
    asked = re.fullmatch(r"placement 1\.(\d+)", request.headers.get("openstack-api-version", "placement 1.0"))
    if asked is None or int(asked[1]) != MINOR:
        raise Refusal(406, f"The mocked placement knows microversion 1.{MINOR} only.")


ROUTES: tuple[Route, ...] = (
    Route("POST", "/resource_providers", create_provider, "service"),
    Route("GET", "/resource_providers/{provider}", show_provider, "service"),
    Route("PUT", "/resource_providers/{provider}/inventories", put_inventories, "service"),
    Route("GET", "/allocations/{consumer}", show_allocations, "service"),
    Route("PUT", "/allocations/{consumer}", put_allocations, "service"),
    Route("DELETE", "/allocations/{consumer}", delete_allocations, "service"),
)
