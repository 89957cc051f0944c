# SPDX-License-Identifier: Apache-2.0
"""Only cinder's own word makes a volume or an attachment gone: taken wrongly, it would be left behind for ever."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.token_endpoint import Token

from imagebackends.cinder.backend import CinderBackend
from imagebackends.errors import MaybeRunning, NotAllowed, NotFound, Refused
from tests.imagebackends.conftest import HASTY, REQUEST_ID, TOKEN, Answer, access_of, attachment, volume

VOLUME, SERVER, ATTACHMENT = volume()["id"], attachment()["instance"], attachment()["id"]
PASSWORD = "a-secret-of-the-service-user"
ACTS = {
    "get": lambda backend, access: backend.get(access, VOLUME),
    "delete": lambda backend, access: backend.delete(access, VOLUME),
    "detach": lambda backend, access: backend.detach(access, ATTACHMENT),
    "attachments": lambda backend, access: backend.attachments(access, disk_id=VOLUME),
    "snapshot": lambda backend, access: backend.snapshot(access, VOLUME),
}
acts = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
PAGE = "<html><title>404 Not Found</title></html>"
# (body, headers) of a 404 that says nothing of a volume.
STRANGE = {
    "a proxy's": (PAGE, {"Content-Type": "text/html"}),
    # What real cinder answers where it has no such address; its own 404s bear x-compute-request-id, too.
    "cinder's of no address": (PAGE, {"Content-Type": "text/html", "x-openstack-request-id": "req-of-cinder"}),
    "an API gateway's": ({"message": "no Route matched with those values"}, {}),
    "an empty one": ("", {}),
}


@pytest.fixture
def identity(script):
    """Rights that ask the scripted server for a token; ``answers`` are its answers, one a time."""

    def identity(*answers):
        left = iter(answers)
        script.on("POST", "/identity/v3/auth/tokens", lambda _: next(left))
        auth = v3.Password(
            f"{script.url}/identity/v3", user_id="bfv", password=PASSWORD, project_id=access_of().project_id
        )
        return access_of(auth=auth)

    return identity


def token(name="a-token"):
    """Return keystone's answer that brings a token (``keystone/api/auth.py``)."""
    body = {"methods": ["password"], "expires_at": "2999-01-01T00:00:00Z", "user": {"id": "bfv"}, "catalog": []}
    return Answer(201, {"token": body}, {"X-Subject-Token": name})


def refusal(status):
    words = {"error": {"code": status, "message": "keystone's words", "title": "-"}}
    return Answer(status, words, {"x-openstack-request-id": "req-of-keystone"})


@acts
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_a_404_that_is_not_cinders_own_may_be_running(script, backend, access, act, strange):
    for method in ("GET", "DELETE"):
        script.on(method, "/v3/.*", Answer(404, *strange))

    with pytest.raises(MaybeRunning, match="no request id") as caught:
        act(backend, access)
    assert caught.value.request_id == REQUEST_ID


def test_cinders_own_404_is_not_found(script, backend, access):
    body = {"itemNotFound": {"code": 404, "message": f"Volume {VOLUME} could not be found."}}
    script.on("GET", "/v3/volumes/.*", Answer(404, body, {"x-compute-request-id": "req-of-cinder"}))

    with pytest.raises(NotFound, match="could not be found") as caught:
        backend.get(access, VOLUME)
    assert caught.value.request_id == "req-of-cinder"


@acts
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_keystones_refusal_is_no_word_of_cinder(script, backend, access, identity, act, status):
    """An application credential that was deleted is 404 there (``keystone/application_credential``)."""
    backend.clients.version(access)

    with pytest.raises(NotAllowed, match=f"keystone: keystone's words .HTTP {status}.; sign in again") as caught:
        act(backend, identity(refusal(status)))
    assert caught.value.request_id == "req-of-keystone"
    assert PASSWORD not in str(caught.value)
    assert script.took("GET|DELETE", "/v3/.*") == []


@acts
@pytest.mark.parametrize("status", [409, 413, 429, 500, 501, 503])
def test_a_keystone_that_cannot_is_asked_again(backend, access, identity, act, status):
    backend.clients.version(access)

    with pytest.raises(MaybeRunning, match=f"keystone: .+HTTP {status}"):
        act(backend, identity(refusal(status)))


def test_a_token_that_expired_is_changed_once_and_only_after_it_was_refused(script, backend, access, identity, spec):
    """Cinder's door says 401 before anything is done (``keystonemiddleware``): asking again makes no second volume."""
    backend.clients.version(access)
    answers = iter([Answer(401, ""), Answer(202, {"volume": volume()})])
    script.on("POST", "/v3/volumes", lambda _: next(answers))

    assert backend.create(identity(token("old"), token("new")), spec).id == VOLUME

    assert [each.headers["X-Auth-Token"] for each in script.took("POST", "/v3/volumes")] == ["old", "new"]


@pytest.mark.parametrize("fault", ["reset", "closed", "silent"])
def test_with_a_password_at_hand_a_lost_answer_is_not_asked_for_again(
    script, backend, access, identity, spec, fault, hurry
):
    backend.clients.version(access)
    rights = identity(token())
    rights.auth.get_token(backend.clients.session)
    if fault == "silent":
        hurry()
    script.on("POST", "/v3/volumes", Answer(fault=fault))

    with pytest.raises(MaybeRunning, match="outcome is not known") as caught:
        backend.create(rights, spec)
    assert caught.value.request_id == REQUEST_ID
    assert len(script.took("POST", "/v3/volumes")) == 1


@acts
def test_a_catalog_that_lost_cinder_is_refused(settings, script, backend, access, act):
    """Also when the version is known already."""
    backend.clients.version(access)
    backend.clients.settings = dataclasses.replace(settings, volume_endpoint=None)

    with pytest.raises(Refused, match="catalog has no such service") as caught:
        act(backend, access_of(auth=Token(None, TOKEN)))
    assert caught.value.request_id == REQUEST_ID


@acts
@pytest.mark.parametrize("headers", [{}, {"x-openstack-request-id": "req-of-cinder"}])
def test_an_address_without_a_cinder_makes_nothing_gone(script, session, settings, access, act, headers):
    wrong = dataclasses.replace(settings, volume_endpoint=f"{script.url}/wrong/v3")
    script.on("GET", "/wrong/", Answer(404, PAGE, {"Content-Type": "text/html", **headers}))

    with pytest.raises((Refused, MaybeRunning), match=r"ask cinder for its version.+endpoint"):
        act(CinderBackend(wrong, session), access)


def test_an_endpoint_without_a_version_is_refused(script, session, settings, access, spec):
    bare = dataclasses.replace(settings, volume_endpoint=script.url)

    with pytest.raises(Refused, match=r"has no /v3; set \[storage\] volume_endpoint"):
        CinderBackend(bare, session).create(access, spec)
    assert script.asked == []


def test_many_threads_wait_no_longer_for_a_cinder_that_hangs_than_two(script, settings, session, access, hurry):
    """Behind one lock the last of them would wait for as many time-outs."""
    script.on("GET", "/", Answer(fault="silent"))
    backend = CinderBackend(dataclasses.replace(settings, read_retries=0), session)

    def fails(_):
        with pytest.raises(MaybeRunning):
            backend.get(access, VOLUME)

    hurry()
    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(fails, range(40)))
    assert time.monotonic() - began < 30 * HASTY


def test_an_address_with_a_password_is_told_without_it(session, settings, access):
    backend = CinderBackend(
        dataclasses.replace(settings, volume_endpoint=f"http://u:{PASSWORD}@127.0.0.1:1/v3"), session
    )

    with pytest.raises(MaybeRunning, match="no answer: ConnectFailure") as caught:
        backend.get(access, VOLUME)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "next_step"),
    [(403, "grant the role"), (413, "quota raised"), (406, "this release"), (500, "look again"), (401, "sign in")],
)
def test_an_error_says_what_to_do_next(script, backend, access, spec, status, next_step):
    script.on("POST", "/v3/volumes", Answer(status, {"x": {"message": "words"}}))

    with pytest.raises(Exception, match=next_step):
        backend.create(access, spec)
