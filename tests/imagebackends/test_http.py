# SPDX-License-Identifier: Apache-2.0
"""What a broken, refused or missing answer becomes, and that nothing which changes something is sent twice."""

import dataclasses
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from keystoneauth1.token_endpoint import Token

from imagebackends import errors
from imagebackends.cinder.backend import CinderBackend
from imagebackends.errors import MaybeRunning, NotAllowed, Refused
from tests.imagebackends.conftest import REQUEST_ID, TOKEN, Answer, access_of, attachment, volume

VOLUME, SERVER = volume()["id"], attachment()["instance"]
HTML = Answer(200, "<html><h1>Bad Gateway</h1></html>", {"Content-Type": "text/html"})

# What anybody's act becomes by the status alone.
TABLE = {
    400: errors.BadRequest,
    401: errors.NotAllowed,
    403: errors.NotAllowed,
    404: errors.NotFound,
    406: errors.Unsupported,
    409: errors.InUse,
    413: errors.OverQuota,
    418: errors.MaybeRunning,
    429: errors.MaybeRunning,
    500: errors.MaybeRunning,
    501: errors.Unsupported,
    502: errors.MaybeRunning,
    503: errors.MaybeRunning,
    504: errors.MaybeRunning,
}
BODIES = {
    "cinder's": ({"itemNotFound": {"code": 0, "message": "cinder's words"}}, "application/json"),
    "html": (HTML.body, "text/html"),
    "empty": ("", "application/json"),
    "no object": ("[]", "application/json"),
    "nothing in it": ({"error": {}}, "application/json"),
    "no JSON": ("{", "application/json"),
}
FAULTS = ["reset", "closed", "silent"]
# What changes something: (method, path, how it is done).
WRITES = {
    "create": ("POST", "/v3/volumes", lambda backend, access, spec: backend.create(access, spec)),
    "attach": ("POST", "/v3/attachments", lambda backend, access, spec: backend.attach(access, VOLUME, SERVER)),
    "delete": ("DELETE", f"/v3/volumes/{VOLUME}", lambda backend, access, spec: backend.delete(access, VOLUME)),
    "connect": ("PUT", "/v3/attachments/a", lambda backend, access, spec: backend.connect(access, "a", {"host": "h"})),
    "complete": ("POST", "/v3/attachments/a/action", lambda backend, access, spec: backend.complete(access, "a")),
    "detach": ("DELETE", "/v3/attachments/a", lambda backend, access, spec: backend.detach(access, "a")),
    "reimage": (
        *("POST", f"/v3/volumes/{VOLUME}/action"),
        lambda backend, access, spec: backend.reimage(access, VOLUME, "image"),
    ),
}
# Where an act gives an answer a narrower meaning than the table does.
NARROWER = {
    ("attach", 400): errors.InUse,
    ("delete", 400): errors.InUse,
    ("reimage", 400): errors.InUse,
    ("detach", 404): None,
    ("detach", 409): errors.NotAllowed,
}


def failing(status, body="cinder's", **headers):
    """Return an error as cinder sends it; cinderclient reads the first of its two names of the request id."""
    text, kind = BODIES[body]
    ids = dict.fromkeys(("x-compute-request-id", "x-openstack-request-id"), "req-of-cinder")
    return Answer(status, text, {"Content-Type": kind, **ids, **headers})


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_sent_once_whatever_is_answered(script, backend, access, spec, write, status):
    method, path, act = WRITES[write]
    script.on(method, path, failing(status, **{"Retry-After": "1"}))
    script.on("GET", "/v3/snapshots/detail", Answer(200, {"snapshots": []}))
    kind = NARROWER.get((write, status), TABLE[status])

    if kind is None:
        act(backend, access, spec)
    else:
        with pytest.raises(kind) as caught:
            act(backend, access, spec)
        assert type(caught.value) is kind
        assert caught.value.request_id == "req-of-cinder"
        assert TOKEN not in str(caught.value)
        assert "cinder's words" in str(caught.value) or status == 401
    assert len(script.took(method, path)) == 1


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", TABLE)
def test_the_body_of_an_error_changes_its_words_only(script, backend, access, spec, status, body):
    script.on("POST", "/v3/volumes", failing(status, body))

    with pytest.raises(TABLE[status], match=f"create a volume of 1 GiB: .+ .HTTP {status}") as caught:
        backend.create(access, spec)

    assert type(caught.value) is TABLE[status]
    assert caught.value.request_id == "req-of-cinder"
    assert len(script.took("POST", "/v3/volumes")) == 1


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_without_an_answer_may_be_running_and_is_sent_once(script, backend, access, spec, write, fault, hurry):
    method, path, act = WRITES[write]
    backend.clients.version(access)
    if fault == "silent":
        hurry()
    script.on(method, path, Answer(fault=fault))

    with pytest.raises(MaybeRunning, match="no answer") as caught:
        act(backend, access, spec)

    assert TOKEN not in str(caught.value)
    assert len(script.took(method, path)) == 1


@pytest.mark.parametrize("answer", [HTML, Answer(202, ""), Answer(202, {}), Answer(202, "[]")])
@pytest.mark.parametrize("write", ["create", "attach", "connect"])
def test_a_good_status_with_a_broken_body_may_be_running(script, backend, access, spec, write, answer):
    method, path, act = WRITES[write]
    script.on(method, path, answer)

    with pytest.raises(MaybeRunning):
        act(backend, access, spec)

    assert len(script.took(method, path)) == 1


def test_an_error_that_no_openstack_service_words_so_may_be_running(script, backend, access, spec):
    script.on("POST", "/v3/volumes", Answer(404, {"error": "no route"}))

    with pytest.raises(MaybeRunning, match="create a volume of 1 GiB: no answer that makes sense"):
        backend.create(access, spec)
    assert len(script.took("POST", "/v3/volumes")) == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_read_without_an_answer_is_repeated(script, backend, access, fault, hurry):
    backend.clients.version(access)
    if fault == "silent":
        hurry()
    script.on("GET", f"/v3/volumes/{VOLUME}", Answer(fault=fault))

    with pytest.raises(MaybeRunning):
        backend.get(access, VOLUME)

    assert len(script.took("GET", f"/v3/volumes/{VOLUME}")) == 1 + backend.clients.settings.read_retries


@pytest.mark.parametrize("first", [Answer(503, ""), Answer(429, ""), Answer(fault="closed")])
def test_a_read_that_is_answered_the_second_time_is_answered(script, backend, access, first):
    answers = iter([first, Answer(200, {"volume": volume()})])
    script.on("GET", f"/v3/volumes/{VOLUME}", lambda _: next(answers))

    assert backend.get(access, VOLUME).id == VOLUME


def test_a_refused_port_may_be_running(settings, access, spec, script, session):
    backend = CinderBackend(settings, session)
    backend.clients.version(access)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v3"
        backend.clients.settings = dataclasses.replace(settings, volume_endpoint=url)
        with pytest.raises(MaybeRunning, match="no answer"):
            backend.create(access, spec)
        with pytest.raises(MaybeRunning, match="no answer"):
            CinderBackend(backend.clients.settings, session).create(access, spec)


def test_each_act_bears_its_own_request_id_and_token(script, backend, spec):
    """A service's answer names another request; the second act of an access must not bear it, nor a stranger's."""
    script.on("GET", "/v3/volumes/.*", Answer(200, {"volume": volume()}, {"x-openstack-request-id": "req-of-cinder"}))
    script.on("POST", "/v3/volumes", Answer(202, {"volume": volume()}, {"x-openstack-request-id": "req-of-cinder"}))
    others = [access_of(f"req-{number}", auth=Token(None, f"token-{number}")) for number in range(8)]

    def both(access):
        backend.get(access, access.request_id)
        backend.create(access, dataclasses.replace(spec, name=access.request_id))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(both, others))

    reads, writes = script.took("GET", "/v3/volumes/.*"), script.took("POST", "/v3/volumes")
    assert len(reads) == len(writes) == len(others)
    for each in reads:
        assert each.path == f"/v3/volumes/{each.headers['X-OpenStack-Request-ID']}"
    for each in writes:
        number = each.headers["X-OpenStack-Request-ID"].removeprefix("req-")
        assert each.body["volume"]["name"] == f"req-{number}"
        assert each.headers["X-Auth-Token"] == f"token-{number}"


def test_two_acts_of_one_access_bear_one_request_id(script, backend, access):
    script.on("GET", "/v3/volumes/.*", Answer(200, {"volume": volume()}))

    backend.get(access, VOLUME)
    backend.get(access, VOLUME)

    assert [each.headers["X-OpenStack-Request-ID"] for each in script.took("GET", "/v3/volumes/.*")] == [REQUEST_ID] * 2


def test_a_catalog_without_cinder_is_refused(settings, spec, session):
    backend = CinderBackend(dataclasses.replace(settings, volume_endpoint=None), session)

    with pytest.raises(Refused, match=r"the catalog has no block-storage service|The catalog has no block-storage"):
        backend.create(access_of(auth=Token(None, TOKEN)), spec)


def test_a_401_names_the_role_of_service_tokens(script, backend, access):
    script.on("GET", "/v3/volumes/.*", failing(401))

    with pytest.raises(NotAllowed, match="service_token_roles"):
        backend.get(access, VOLUME)
