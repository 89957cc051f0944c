# SPDX-License-Identifier: Apache-2.0
"""Keystone v3: tokens, application credentials, validation, the catalog, projects and roles."""

import copy
import uuid

import pytest
import requests

from tests.contract.door import keystone_refused

AUTH = "The request you have made requires authentication."
MALFORMED = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect. "
    "The client is assumed to be in error."
)
UNSCOPED = {"methods", "user", "audit_ids", "expires_at", "issued_at"}
SCOPED = UNSCOPED | {"project", "is_domain", "roles"}
PROJECT = {
    *("id", "name", "domain_id", "description", "enabled", "parent_id", "is_domain", "tags", "options", "links"),
}


def unauthorized(answer):
    keystone_refused(answer, 401, "Unauthorized", AUTH)
    assert answer.headers["WWW-Authenticate"].startswith('Keystone uri="http')


def test_versions_need_no_token(site):
    root = site.auth_url.removesuffix("/v3")
    several = requests.get(f"{root}/", timeout=60)
    one = requests.get(site.auth_url, timeout=60)
    assert (several.status_code, one.status_code) == (300, 200)
    assert several.headers["Location"] == f"{site.auth_url}/"
    assert several.json() == {"versions": {"values": [one.json()["version"]]}}
    kind = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
    assert one.json()["version"] == {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{site.auth_url}/"}],
        "media-types": [kind],
    }


def test_password_with_scope(site, tenant, member):
    answer = site.login(site.password(member, **site.scope(tenant.name)))
    assert answer.status_code == 201
    assert answer.headers["X-Subject-Token"].startswith("gAAAAA")
    assert answer.headers["Vary"] == "X-Auth-Token"
    token = answer.json()["token"]
    assert set(token) == SCOPED | {"catalog"}
    domain = {"id": "default", "name": "Default"}
    user = {"domain": domain, "id": tenant.user_id("member"), "name": member.name, "password_expires_at": None}
    assert token["user"] == user
    assert token["project"] == {"domain": domain, "id": tenant.id, "name": tenant.name}
    assert token["is_domain"] is False
    assert token["methods"] == ["password"]
    assert len(token["audit_ids"]) == 1
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert set(token["roles"][0]) == {"id", "name"}
    assert token["expires_at"].endswith(".000000Z")


def test_roles_bring_those_they_imply(site, admin, service, plain):
    def roles(who, project):
        token = site.login(site.password(who, **site.scope(project))).json()["token"]
        return {role["name"] for role in token["roles"]}

    all_of_admin = {"admin", "manager", "member", "reader"}
    assert roles(admin, "admin") == all_of_admin
    assert roles(service, "service") == all_of_admin | {"service"}
    assert roles(service, "demo") == all_of_admin
    assert roles(plain, "service") == {"service"}


def test_without_scope_the_default_project_counts(site, tenant, member):
    own = site.login(site.password(member)).json()["token"]
    none = site.login(site.password(member, scope="unscoped")).json()["token"]
    assert own["project"]["id"] == tenant.id
    assert set(none) == UNSCOPED


def test_nocatalog(site, tenant, member):
    answer = site.login(site.password(member, **site.scope(tenant.name)), nocatalog="")
    assert set(answer.json()["token"]) == SCOPED


def test_token_for_a_token(site, tenant, member):
    first = site.login(site.password(member, scope="unscoped"))
    identity = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}
    second = site.login({"auth": {"identity": identity, **site.scope(tenant.name)}}).json()["token"]
    # Keystone keeps the methods as a set: their order is no promise.
    assert sorted(second["methods"]) == ["password", "token"]
    assert second["audit_ids"][1:] == first.json()["token"]["audit_ids"]
    assert second["project"]["id"] == tenant.id


@pytest.mark.parametrize("wrong", ["password", "user", "project", "no such project"])
def test_wrong_credentials_say_nothing_more(site, tenant, stranger, member, wrong):
    body = site.password(member, **site.scope(tenant.name))
    user = body["auth"]["identity"]["password"]["user"]
    project = body["auth"]["scope"]["project"]
    if wrong == "password":
        user["password"] = "x"
    elif wrong == "user":
        user["name"] = "nobody-at-all"
    else:
        project["name"] = stranger.name if wrong == "project" else "no-such-project"
    unauthorized(site.login(body))


def test_malformed_requests(site, member):
    text = f"Expecting to find auth in request body. {MALFORMED}"
    keystone_refused(site.login({}), 400, "Bad Request", text)
    text = f"Expecting to find nope in identity. {MALFORMED}"
    keystone_refused(site.login({"auth": {"identity": {"methods": ["nope"]}}}), 400, "Bad Request", text)
    missing = site.login({"auth": {}})
    assert missing.status_code == 400
    assert missing.json()["error"]["message"].startswith("'identity' is a required property")
    rubbish = {"auth": {"identity": {"methods": ["token"], "token": {"id": "rubbish"}}}}
    keystone_refused(site.login(rubbish), 404, "Not Found", "Could not recognize Fernet token")


def validate(site, who, subject, method="GET"):
    headers = {} if subject is None else {"X-Subject-Token": subject}
    return site.identity(who, method, "/auth/tokens", headers=headers)


def test_validate(site, admin, service, plain, member, other):
    token, not_mine = site.token(member), site.token(other)
    for who in (member, admin, service, plain):
        answer = validate(site, who, token)
        assert answer.status_code == 200
        assert answer.headers["X-Subject-Token"] == token
        assert answer.json()["token"]["user"]["name"] == member.name
    head = validate(site, service, token, "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    denied = "You are not authorized to perform the requested action: identity:validate_token."
    keystone_refused(validate(site, member, not_mine), 403, "Forbidden", denied)
    keystone_refused(validate(site, member, None), 403, "Forbidden", denied)
    for who in (member, service):
        keystone_refused(validate(site, who, "rubbish"), 404, "Not Found", "Could not recognize Fernet token")
    unauthorized(validate(site, None, token))
    unauthorized(validate(site, "rubbish", token))


def test_revoked_tokens_are_unknown(site, tenant, member):
    token = site.login(site.password(member, **site.scope(tenant.name))).headers["X-Subject-Token"]
    gone = validate(site, token, token, "DELETE")
    assert (gone.status_code, gone.content) == (204, b"")
    keystone_refused(validate(site, member, token), 404, "Not Found", "Failed to validate token")


def test_catalog(site, member):
    answer = site.identity(member, "GET", "/auth/catalog").json()
    assert answer["links"] == {"self": f"{site.auth_url}/auth/catalog"}
    services = {row["type"]: row for row in answer["catalog"]}
    urls = {"identity": site.auth_url, "image": site.image_url, "block-storage": site.volume_url}
    names = {"identity": "keystone", "image": "glance", "block-storage": "cinderv3", "compute": "nova"}
    assert set(names) <= set(services)
    for kind, url in (urls | {"compute": site.compute_url}).items():
        row = services[kind]
        assert set(row) == {"endpoints", "id", "type", "name"}
        assert row["name"] == names[kind]
        assert {each["interface"] for each in row["endpoints"]} == {"public", "internal", "admin"}
        for each in row["endpoints"]:
            assert set(each) == {"id", "interface", "region_id", "url", "region"}
            assert (each["url"], each["region"], each["region_id"]) == (url, "RegionOne", "RegionOne")
    assert requests.get(services["compute"]["endpoints"][0]["url"] + "/", timeout=60).json()["version"]["id"] == "v2.1"


def test_own_projects(site, tenant, member):
    user_id = tenant.user_id("member")
    for path in ("/auth/projects", f"/users/{user_id}/projects"):
        answer = site.identity(member, "GET", path).json()
        assert [row["id"] for row in answer["projects"]] == [tenant.id]
        assert set(answer["projects"][0]) == PROJECT
        assert answer["links"] == {"next": None, "self": site.auth_url + path, "previous": None}
    assert site.identity(member, "GET", f"/projects/{tenant.id}").json()["project"]["name"] == tenant.name
    assert site.identity(member, "GET", "/auth/domains").json()["domains"] == []
    assert site.identity(member, "GET", "/auth/system").json()["system"] == []


def test_directory_is_for_admins(site, admin, tenant, stranger, member):
    denied = "You are not authorized to perform the requested action: identity:{}."
    for path, rule in (
        ("/projects", "list_projects"),
        (f"/projects/{stranger.id}", "get_project"),
        ("/roles", "list_roles"),
        ("/domains", "list_domains"),
        ("/services", "list_services"),
    ):
        keystone_refused(site.identity(member, "GET", path), 403, "Forbidden", denied.format(rule))
    found = site.identity(admin, "GET", "/projects", params={"name": tenant.name, "domain_id": "default"}).json()
    assert [row["id"] for row in found["projects"]] == [tenant.id]
    found = site.identity(admin, "GET", "/users", params={"name": member.name}).json()["users"]
    assert [row["id"] for row in found] == [tenant.user_id("member")]
    roles = {row["name"] for row in site.identity(admin, "GET", "/roles").json()["roles"]}
    assert roles >= {"admin", "manager", "member", "reader", "service"}
    missing = site.identity(admin, "GET", "/projects/nope")
    keystone_refused(missing, 404, "Not Found", "Could not find project: nope.")
    twice = site.identity(admin, "POST", "/projects", {"project": {"name": tenant.name, "domain_id": "default"}})
    assert twice.status_code == 409
    assert f"name is {tenant.name}, project id" in twice.json()["error"]["message"]


def test_unknown_paths(site, member):
    answer = site.identity(member, "GET", "/nope")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    unauthorized(site.identity(None, "GET", "/projects"))


@pytest.fixture
def credentials(site, tenant, member):
    path = f"/users/{tenant.user_id('member')}/application_credentials"
    yield path
    for row in site.identity(member, "GET", path).json()["application_credentials"]:
        site.identity(member, "DELETE", f"{path}/{row['id']}")


CREDENTIAL = {
    *("id", "name", "description", "user_id", "project_id", "system", "expires_at", "unrestricted", "roles", "links"),
}


def test_application_credential(site, tenant, member, credentials):
    body = {"application_credential": {"name": "one", "secret": "s3", "roles": [{"name": "reader"}]}}
    made = site.identity(member, "POST", credentials, body)
    assert made.status_code == 201
    row = made.json()["application_credential"]
    assert set(row) == CREDENTIAL | {"secret"}
    assert (row["secret"], row["project_id"], row["unrestricted"]) == ("s3", tenant.id, None)
    assert {role["name"] for role in row["roles"]} == {"reader"}
    shown = site.identity(member, "GET", f"{credentials}/{row['id']}").json()["application_credential"]
    assert set(shown) == CREDENTIAL

    by_id = {"id": row["id"], "secret": "s3"}
    by_name = {"name": "one", "user": {"id": tenant.user_id("member")}, "secret": "s3"}
    for given in (by_id, by_name):
        identity = {"methods": ["application_credential"], "application_credential": given}
        token = site.login({"auth": {"identity": identity}}).json()["token"]
        assert set(token) == SCOPED | {"catalog", "application_credential"}
        assert token["application_credential"] == {"id": row["id"], "name": "one", "restricted": True}
        assert token["methods"] == ["application_credential"]
        assert {role["name"] for role in token["roles"]} == {"reader"}

    wrong = copy.deepcopy(identity)
    wrong["application_credential"] = by_id | {"secret": "bad"}
    unauthorized(site.login({"auth": {"identity": wrong}}))
    wrong["application_credential"] = {"id": "f" * 32, "secret": "bad"}
    text = f"Could not find Application Credential: {'f' * 32}."
    keystone_refused(site.login({"auth": {"identity": wrong}}), 404, "Not Found", text)


def test_application_credential_refusals(site, member, other, credentials):
    made = site.identity(member, "POST", credentials, {"application_credential": {"name": "one"}})
    row = made.json()["application_credential"]
    assert {role["name"] for role in row["roles"]} == {"member", "reader"}
    assert len(row["secret"]) > 40
    twice = site.identity(member, "POST", credentials, {"application_credential": {"name": "one"}})
    text = "Conflict occurred attempting to store application_credential - Duplicate entry found with name one."
    keystone_refused(twice, 409, "Conflict", text)
    body = {"application_credential": {"name": "two", "roles": [{"name": "admin"}]}}
    text = "Invalid application credential: Cannot create an application credential with unassigned role"
    keystone_refused(site.identity(member, "POST", credentials, body), 400, "Bad Request", text)
    text = "You are not authorized to perform the requested action: identity:list_application_credentials."
    keystone_refused(site.identity(other, "GET", credentials), 403, "Forbidden", text)
    unknown = uuid.uuid4().hex
    text = f"Could not find Application Credential: {unknown}."
    keystone_refused(site.identity(member, "GET", f"{credentials}/{unknown}"), 404, "Not Found", text)
    assert site.identity(member, "DELETE", f"{credentials}/{row['id']}").status_code == 204
