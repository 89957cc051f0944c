# SPDX-License-Identifier: Apache-2.0
"""Who exists in the lab's Keystone: projects, users, roles and the catalog, made only where missing."""

import json
from dataclasses import dataclass

from lab.rest import Session, login
from lab.settings import AUTH_URL, IDS, REGION, SERVICE_PASSWORD, USER_PASSWORD, url, write

DEFAULT, OUTER = "Default", "outer"
ROLES = ("admin", "manager", "member", "reader", "service")
# `noservice` is in a domain of its own, as our users reach all of the default domain by inheritance.
PROJECTS = {
    "service": DEFAULT,
    "demo": DEFAULT,
    "other": DEFAULT,
    "cinder-internal": DEFAULT,
    "noservice": OUTER,
}

# (name, domain id); roles and domains have no domain id.
Name = tuple[str, str | None]


@dataclass(frozen=True)
class User:
    """A user, the roles in its own project, and the roles in every project of the default domain."""

    name: str
    password: str
    project: str
    roles: tuple[str, ...]
    inherited: tuple[str, ...] = ()


USERS = (
    User("demo", USER_PASSWORD, "demo", ("member", "reader")),
    User("other", USER_PASSWORD, "other", ("member", "reader")),
    User("noservice", USER_PASSWORD, "noservice", ("member",)),
    User("glance", SERVICE_PASSWORD, "service", ("admin", "service")),
    User("cinder", SERVICE_PASSWORD, "service", ("admin", "service")),
    User("nova", SERVICE_PASSWORD, "service", ("admin", "service")),
    User("cinder-internal", SERVICE_PASSWORD, "cinder-internal", ("member",)),
    User("bfv", SERVICE_PASSWORD, "service", ("admin", "service"), inherited=("admin",)),
    User("bfv-nosvc", SERVICE_PASSWORD, "service", ("admin",), inherited=("admin",)),
    User("bfv-plain", SERVICE_PASSWORD, "service", ("service",)),
)
CATALOG = {
    "image": ("glance", url("glance")),
    "block-storage": ("cinderv3", url("cinder-api", "/v3")),
    "compute": ("nova", url("novastub", "/v2.1")),
}


def up() -> None:
    """Make what is missing, then write all ids to one file that the other steps read."""
    admin = login()
    domains = ensure(admin, "domain", {(OUTER, None): {}})
    domain_ids = {name: ident for (name, _), ident in domains.items()}
    wanted: dict[Name, dict[str, str]] = {(name, domain_ids[domain]): {} for name, domain in PROJECTS.items()}
    projects = {name: ident for (name, _), ident in ensure(admin, "project", wanted).items()}
    wanted = {
        (user.name, domain_ids[PROJECTS[user.project]]): {
            "password": user.password,
            "default_project_id": projects[user.project],
        }
        for user in USERS
    }
    users = {name: ident for (name, _), ident in ensure(admin, "user", wanted).items()}
    roles = {name: ident for (name, _), ident in ensure(admin, "role", {(name, None): {} for name in ROLES}).items()}
    grant(admin, users, projects, roles, domain_ids[DEFAULT])
    ensure_catalog(admin)
    write(IDS, json.dumps({"projects": projects, "users": users, "domains": domain_ids}, indent=1) + "\n")


def named(admin: Session, kind: str) -> dict[Name, str]:
    """What exists of this kind: (name, domain id) -> id."""
    rows = admin.call("GET", f"{AUTH_URL}/{kind}s")[f"{kind}s"]
    return {(row["name"], row.get("domain_id")): row["id"] for row in rows}


def ensure(admin: Session, kind: str, wanted: dict[Name, dict[str, str]]) -> dict[Name, str]:
    """Create what is wanted and missing; return everything of this kind."""
    have = named(admin, kind)
    for (name, domain_id), more in wanted.items():
        if (name, domain_id) not in have:
            body = {"name": name, **({"domain_id": domain_id} if domain_id else {}), **more}
            have[name, domain_id] = admin.call("POST", f"{AUTH_URL}/{kind}s", {kind: body})[kind]["id"]
    return have


def grant(
    admin: Session, users: dict[str, str], projects: dict[str, str], roles: dict[str, str], domain_id: str
) -> None:
    """Give the roles of the table; a grant that exists already is a 204, too."""
    for user in USERS:
        for role in user.roles:
            admin.call(
                "PUT",
                f"{AUTH_URL}/projects/{projects[user.project]}/users/{users[user.name]}/roles/{roles[role]}",
            )
        for role in user.inherited:
            admin.call(
                "PUT",
                f"{AUTH_URL}/OS-INHERIT/domains/{domain_id}/users/{users[user.name]}"
                f"/roles/{roles[role]}/inherited_to_projects",
            )


def ensure_catalog(admin: Session) -> None:
    services = {row["type"]: row["id"] for row in admin.call("GET", f"{AUTH_URL}/services")["services"]}
    endpoints = {
        (row["service_id"], row["interface"]) for row in admin.call("GET", f"{AUTH_URL}/endpoints")["endpoints"]
    }
    for kind, (name, address) in CATALOG.items():
        if kind not in services:
            body = {"service": {"name": name, "type": kind}}
            services[kind] = admin.call("POST", f"{AUTH_URL}/services", body)["service"]["id"]
        for interface in ("public", "internal", "admin"):
            if (services[kind], interface) not in endpoints:
                admin.call(
                    "POST",
                    f"{AUTH_URL}/endpoints",
                    {
                        "endpoint": {
                            "service_id": services[kind],
                            "interface": interface,
                            "url": address,
                            "region_id": REGION,
                        }
                    },
                )
