# SPDX-License-Identifier: Apache-2.0
"""Who exists in the cloud: domains, projects, users, roles and who has which, the same in every new cloud."""

import hashlib
import secrets
from dataclasses import dataclass, field

from bfv.mockcloud.clock import Clock

DEFAULT, OUTER = "default", hashlib.md5(b"domain outer", usedforsecurity=False).hexdigest()
# keystone/assignment/core.py: a role brings those that it implies.
IMPLIED = {"admin": ("manager",), "manager": ("member",), "member": ("reader",)}
ROLES = ("admin", "manager", "member", "reader", "service")
PROJECTS = {
    "admin": DEFAULT,
    "service": DEFAULT,
    "demo": DEFAULT,
    "other": DEFAULT,
    "cinder-internal": DEFAULT,
    "noservice": OUTER,
}
# (name, password, project, roles there, roles in every project of the default domain)
USERS: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("admin", "labadmin", "admin", ("admin",), ()),
    ("demo", "labdemo", "demo", ("member", "reader"), ()),
    ("other", "labdemo", "other", ("member", "reader"), ()),
    ("noservice", "labdemo", "noservice", ("member",), ()),
    ("glance", "labsvc", "service", ("admin", "service"), ()),
    ("cinder", "labsvc", "service", ("admin", "service"), ()),
    ("nova", "labsvc", "service", ("admin", "service"), ()),
    ("cinder-internal", "labsvc", "cinder-internal", ("member",), ()),
    ("bfv", "labsvc", "service", ("admin", "service"), ("admin",)),
    ("bfv-nosvc", "labsvc", "service", ("admin",), ("admin",)),
    ("bfv-plain", "labsvc", "service", ("service",), ()),
)
TOKEN_SECONDS = 24 * 3600


@dataclass
class Domain:
    """A domain."""

    id: str
    name: str


@dataclass
class Project:
    """A project."""

    id: str
    name: str
    domain_id: str
    description: str = ""
    enabled: bool = True


@dataclass
class User:
    """A user."""

    id: str
    name: str
    domain_id: str
    password: str
    default_project_id: str | None = None


@dataclass
class Credential:
    """An application credential: the roles of a user in a project, under a secret of its own."""

    id: str
    name: str
    user_id: str
    project_id: str
    secret: str
    roles: frozenset[str]
    description: str | None = None
    unrestricted: bool | None = None


@dataclass
class Token:
    """A token; its roles are looked up when it is used."""

    id: str
    user: User
    project: Project | None
    methods: list[str]
    audit_ids: list[str]
    issued: float
    expires: float
    credential: Credential | None = None


@dataclass(frozen=True)
class Context:
    """The caller of a request, as the services' middleware hands it in."""

    user: User
    project: Project | None
    roles: frozenset[str]
    token: Token
    beside: bool = False

    @property
    def project_id(self) -> str:
        """The project, an empty string for an unscoped token."""
        return self.project.id if self.project else ""

    @property
    def admin(self) -> bool:
        """Whether the caller is an admin, whatever the project."""
        return "admin" in self.roles


def fixed_id(kind: str, name: str) -> str:
    """Return the id that a thing of this name has in every new cloud."""
    return hashlib.md5(f"{kind} {name}".encode(), usedforsecurity=False).hexdigest()


@dataclass
class People:
    """All of Keystone's tables."""

    clock: Clock
    domains: dict[str, Domain] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    grants: set[tuple[str, str, str]] = field(default_factory=set)
    inherited: set[tuple[str, str, str]] = field(default_factory=set)
    credentials: dict[str, Credential] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.domains = {DEFAULT: Domain(DEFAULT, "Default"), OUTER: Domain(OUTER, "outer")}
        self.roles = {fixed_id("role", name): name for name in ROLES}
        for name, domain_id in PROJECTS.items():
            self.add_project(name, domain_id)
        for name, password, project, roles, inherited in USERS:
            domain_id, project_id = PROJECTS[project], fixed_id("project", project)
            user = self.add_user(name, domain_id, password, project_id)
            self.grants |= {(user.id, project_id, role) for role in roles}
            self.inherited |= {(user.id, domain_id, role) for role in inherited}

    def add_project(self, name: str, domain_id: str = DEFAULT, description: str = "") -> Project:
        """Add a project."""
        made = Project(fixed_id("project", name), name, domain_id, description)
        return self.projects.setdefault(made.id, made)

    def add_user(self, name: str, domain_id: str, password: str, project_id: str | None = None) -> User:
        """Add a user."""
        made = User(fixed_id("user", name), name, domain_id, password, project_id)
        return self.users.setdefault(made.id, made)

    def role_names(self, user: User, project: Project) -> frozenset[str]:
        """Return the roles of a user in a project, with those implied (``keystone/assignment/core.py``)."""
        found = {role for who, where, role in self.grants if (who, where) == (user.id, project.id)}
        found |= {role for who, where, role in self.inherited if (who, where) == (user.id, project.domain_id)}
        return implied(found)

    def role_id(self, name: str) -> str:
        """Return the id of a role."""
        return next(key for key, value in self.roles.items() if value == name)

    def issue(
        self,
        user: User,
        project: Project | None,
        methods: list[str],
        audit_ids: list[str] | None = None,
        credential: Credential | None = None,
    ) -> Token:
        """Make a token."""
        now = self.clock.seconds()
        made = Token(
            id="gAAAAA" + secrets.token_urlsafe(96),
            user=user,
            project=project,
            methods=methods,
            audit_ids=[secrets.token_urlsafe(16), *(audit_ids or [])[-1:]],
            issued=now,
            expires=now + TOKEN_SECONDS,
            credential=credential,
        )
        self.tokens[made.id] = made
        return made

    def valid(self, token_id: str | None) -> Token | None:
        """Return a token that still counts: neither expired nor revoked, of a user that still has roles."""
        token = self.tokens.get(token_id or "")
        if token is None or token.expires <= self.clock.seconds() or token.user.id not in self.users:
            return None
        if token.credential is not None and token.credential.id not in self.credentials:
            return None
        if token.project is not None and not self.context(token).roles:
            return None
        return token

    def context(self, token: Token, beside: bool = False) -> Context:
        """Return who a token stands for."""
        roles: frozenset[str] = frozenset()
        if token.project is not None:
            roles = self.role_names(token.user, token.project)
            if token.credential is not None:
                roles &= token.credential.roles
        return Context(token.user, token.project, roles, token, beside)


def implied(roles: set[str] | frozenset[str]) -> frozenset[str]:
    """Return roles with all that they imply."""
    found = set(roles)
    todo = list(roles)
    while todo:
        for more in IMPLIED.get(todo.pop(), ()):
            if more not in found:
                found.add(more)
                todo.append(more)
    return frozenset(found)
