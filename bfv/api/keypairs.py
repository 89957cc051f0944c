# SPDX-License-Identifier: Apache-2.0
"""Calls about the key pairs of a user (``nova/api/openstack/compute/keypairs.py``)."""

from bfv import keymaking, keypairs
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import next_link, page_limit
from bfv.api.schemas import NAME
from bfv.api.shapes import NUMBER, object_of, query_of
from cells import keypairs as rows
from cells.keypairs import KeyPair

RULE = "os-keypairs"
TYPES, OF_OTHERS, PAGES, IMPORT_ONLY = 2, 10, 35, 92
TEXT = {"type": "string"}
SHOWN_AS_LIVE = {"deleted": False, "deleted_at": None, "updated_at": None}


def index(call: Call) -> Answer:
    """List a user's key pairs."""
    found = rows.list_of(call.cloud.parts.api, _user(call, "index"))
    if call.version < PAGES:
        return Answer({"keypairs": [{"keypair": _basic(call, each)} for each in found]})
    limit, marker = page_limit(call), call.asked("marker")
    if marker:
        places = [place for place, each in enumerate(found) if each.name == marker]
        if not places:
            raise Fault(400, f"Marker {marker[:255]} could not be found.")
        found = found[places[0] + 1 :]
    body: Json = {"keypairs": [{"keypair": _basic(call, each)} for each in found[:limit]]}
    if limit and len(found) >= limit:
        body["keypairs_links"] = [next_link(call, found[limit - 1].name)]
    return Answer(body)


def show(call: Call) -> Answer:
    """Show a key pair."""
    user, name = _user(call, "show"), call.ids["name"]
    found = rows.find(call.cloud.parts.api, user, name)
    if found is None:
        raise Fault(404, f"Keypair {name[:255]} not found for user {user[:255]}")
    times = {"created_at": found.created_at.strftime("%Y-%m-%dT%H:%M:%S.%f") if found.created_at else None}
    return Answer({"keypair": {**_made(call, found), **times, **SHOWN_AS_LIVE, "id": found.id}})


def create(call: Call) -> Answer:
    """Import a public key, or, until 2.91, make a pair."""
    asked = call.body["keypair"]
    user = asked.get("user_id") or call.caller.user_id
    call.check(f"{RULE}:create", user_id=user)
    kind, public = asked.get("type", keymaking.SSH), asked.get("public_key")
    secret: Json = {}
    if public is None:
        secret["private_key"], public = keymaking.make(kind, user)
    fingerprint = keymaking.fingerprint(kind, public)
    made = keypairs.add(call.cloud.parts, call.caller, user, asked["name"], kind, fingerprint, public)
    return Answer({"keypair": {**_made(call, made), **secret}}, code=200 if call.version < TYPES else 201)


def delete(call: Call) -> Answer:
    """Remove a key pair; servers keep their copy of the key."""
    rows.delete(call.cloud.parts.api, _user(call, "delete"), call.ids["name"])
    return Answer(code=202 if call.version < TYPES else 204)


def _user(call: Call, kind: str) -> str:
    """Return whose key pairs a call is about; those of others are for whom the rule lets. Raises Fault 403."""
    user = (call.asked("user_id") if call.version >= OF_OTHERS else None) or call.caller.user_id
    call.check(f"{RULE}:{kind}", user_id=user)
    return user


def _basic(call: Call, pair: KeyPair) -> Json:
    view = {"name": pair.name, "public_key": pair.public_key, "fingerprint": pair.fingerprint}
    return view | ({"type": pair.type} if call.version >= TYPES else {})


def _made(call: Call, pair: KeyPair) -> Json:
    return {**_basic(call, pair), "user_id": pair.user_id}


def create_body(version: int) -> Json:
    """Return what POST /os-keypairs takes."""
    letters = r"^[_\-\@\. a-zA-Z0-9]+$" if version >= IMPORT_ONLY else r"^[_\- a-zA-Z0-9]+$"
    properties: Json = {"name": {"allOf": [NAME, {"type": "string", "pattern": letters}]}, "public_key": TEXT}
    if version >= TYPES:
        properties["type"] = {"type": "string", "enum": [keymaking.SSH, keymaking.X509]}
    if version >= OF_OTHERS:
        properties["user_id"] = {"type": "string", "maxLength": 255}
    required = ("name", "public_key") if version >= IMPORT_ONLY else ("name",)
    return object_of(("keypair",), keypair=object_of(required, **properties))


_PATH = f"/{RULE}/{{name}}"
ROUTES = (
    Route("GET", f"/{RULE}", index, f"{RULE}:index", query=query_of(user_id=TEXT, limit=NUMBER, marker=TEXT)),
    Route("POST", f"/{RULE}", create, f"{RULE}:create", code=201, body=create_body),
    Route("GET", _PATH, show, f"{RULE}:show", query=query_of(user_id=TEXT)),
    Route("DELETE", _PATH, delete, f"{RULE}:delete", code=204, query=query_of(user_id=TEXT)),
)
