# SPDX-License-Identifier: Apache-2.0
"""What a test or a person needs to talk to the lab: KEY=VALUE lines, and a clouds.yaml."""

import json
import shlex

from lab import ceph, cloud
from lab.identity import DEFAULT, PROJECTS, USERS
from lab.settings import (
    ADMIN_PASSWORD,
    AUTH_URL,
    CELLS,
    CLOUDS,
    DATABASE_PASSWORD,
    HOST,
    IDS,
    LAB,
    LOG,
    MARIADB_SOCKET,
    PORTS,
    RABBIT_PASSWORD,
    REGION,
    VENV_BIN,
    LabError,
    url,
    write,
)

CLOUD = """\
  lab-{name}:
    auth:
      auth_url: {auth_url}
      username: {name}
      password: {password}
      project_name: {project}
      user_domain_name: {domain}
      project_domain_name: {domain}
    region_name: {region}
    identity_api_version: 3
    image_api_version: 2
    volume_api_version: 3
"""
# The cloud of a service user is scoped to the project `service`.
CLOUD_USERS = ("demo", "other", "noservice", "nova", "cinder", "glance", "bfv", "bfv-nosvc", "bfv-plain")


def write_clouds() -> None:
    clouds = [
        CLOUD.format(
            name="admin",
            password=ADMIN_PASSWORD,
            project="admin",
            domain=DEFAULT,
            auth_url=AUTH_URL,
            region=REGION,
        )
    ]
    clouds += [
        CLOUD.format(
            name=user.name,
            password=user.password,
            project=user.project,
            domain=PROJECTS[user.project],
            auth_url=AUTH_URL,
            region=REGION,
        )
        for user in USERS
        if user.name in CLOUD_USERS
    ]
    write(CLOUDS, "clouds:\n" + "".join(clouds))


def values() -> dict[str, object]:
    """Everything a client of the lab may want to know, under names that begin with LAB_."""
    if not IDS.exists():
        raise LabError("the lab was never up: run `python3 -m lab up` first")
    ids = json.loads(IDS.read_text())
    database = f"mysql+pymysql://bfv:{DATABASE_PASSWORD}@{HOST}:{PORTS['mariadb']}/bfv"
    found: dict[str, object] = {
        "LAB_DIR": LAB,
        "LAB_LOG_DIR": LOG,
        "LAB_BIN": VENV_BIN,
        "LAB_CLOUDS_YAML": CLOUDS,
        "LAB_AUTH_URL": AUTH_URL,
        "LAB_REGION": REGION,
        "LAB_IMAGE_URL": url("glance"),
        "LAB_VOLUME_URL": url("cinder-api", "/v3"),
        "LAB_COMPUTE_URL": url("novastub", "/v2.1"),
        "LAB_COMPUTE_STUB_URL": url("novastub", "/_stub"),
        "LAB_CINDER_CONF": cloud.CINDER_CONF,
        "LAB_GLANCE_CONF": cloud.GLANCE_CONF,
        "LAB_KEYSTONE_CONF": cloud.KEYSTONE_CONF,
        "LAB_DATABASE_URL": database,
        "LAB_POSTGRESQL_URL": f"postgresql+psycopg://bfv:{DATABASE_PASSWORD}@{HOST}:{PORTS['postgresql']}/bfv",
        "LAB_MARIADB_SOCKET": MARIADB_SOCKET,
        "LAB_RABBIT_URL": f"rabbit://lab:{RABBIT_PASSWORD}@{HOST}:{PORTS['rabbitmq']}/",
    }
    found |= {f"LAB_PORT_{key(name)}": port for name, port in PORTS.items()}
    for cell in CELLS:
        name = key(cell.name)
        found |= {
            f"LAB_{name}_FSID": cell.fsid,
            f"LAB_{name}_CEPH_CONF": cell.conf,
            f"LAB_{name}_MON_HOST": ceph.mon_address(cell),
            f"LAB_{name}_MON_V1_PORT": cell.mon_v1,
            f"LAB_{name}_SECRET_UUID": cell.secret_uuid,
            f"LAB_{name}_CINDER_KEYRING": cell.keyring("cinder"),
        }
        found |= {f"LAB_{key(backend)}_POOL": f"lab@{backend}#{backend}" for backend in cell.backends}
    for kind in ("project", "user", "domain"):
        found |= {f"LAB_{key(kind)}_{key(name)}": ident for name, ident in ids[f"{kind}s"].items()}
    return found


def key(name: str) -> str:
    return name.upper().replace("-", "_")


def lines() -> str:
    return "".join(f"{name}={value}\n" for name, value in values().items())


def exports() -> str:
    """The same for `eval` in a shell, with the names that the tests look for."""
    known = values()
    known |= {"BFV_TEST_MARIADB": known["LAB_DATABASE_URL"], "BFV_TEST_POSTGRESQL": known["LAB_POSTGRESQL_URL"]}
    return "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in known.items())


def write_all() -> None:
    write_clouds()
    write(LAB / "lab.env", lines())
