# SPDX-License-Identifier: Apache-2.0
"""What the services lean on: MariaDB, RabbitMQ and memcached, private to the lab; and PostgreSQL for bfv alone."""

import shutil
import socket
from pathlib import Path

from lab.process import Service, port_open, run, start, wait
from lab.settings import (
    DATABASE_PASSWORD,
    HERE,
    HOST,
    LAB,
    MARIADB_SOCKET,
    PORTS,
    LabError,
    render,
    write,
)

MARIADB_ROOT = LAB / "mariadb"
MARIADB_CONF = MARIADB_ROOT / "my.cnf"
POSTGRESQL_ROOT = LAB / "postgresql"
# PostgreSQL refuses to run as root; the package has made this user.
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
RABBIT_ROOT = LAB / "rabbitmq"
RABBIT_ENV = {
    "HOME": str(RABBIT_ROOT),
    "RABBITMQ_NODENAME": "lab@localhost",
    "RABBITMQ_NODE_IP_ADDRESS": HOST,
    "RABBITMQ_NODE_PORT": str(PORTS["rabbitmq"]),
    "RABBITMQ_DIST_PORT": str(PORTS["rabbitmq-dist"]),
    "RABBITMQ_MNESIA_BASE": f"{RABBIT_ROOT}/mnesia",
    "RABBITMQ_LOG_BASE": f"{RABBIT_ROOT}/log",
    "RABBITMQ_PID_FILE": f"{RABBIT_ROOT}/pid",
    "RABBITMQ_ENABLED_PLUGINS_FILE": f"{RABBIT_ROOT}/enabled_plugins",
    "RABBITMQ_CONFIG_FILE": f"{RABBIT_ROOT}/rabbitmq.conf",
    "RABBITMQ_CONF_ENV_FILE": f"{RABBIT_ROOT}/none",
    "ERL_EPMD_ADDRESS": HOST,
    "ERL_EPMD_PORT": str(PORTS["epmd"]),
    # One scheduler that does not spin: the broker is idle nearly always and has two cores to share.
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none +A 16"
    " -kernel inet_dist_use_interface {127,0,0,1}",
    # The start script then becomes the broker itself instead of a shell that waits for it.
    "RUNNING_UNDER_SYSTEMD": "true",
}
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
AMQP_METHOD_FRAME = 1


def amqp_answers() -> bool:
    """Whether a broker begins the handshake; the port alone opens seconds before that."""
    try:
        with socket.create_connection((HOST, PORTS["rabbitmq"]), 1) as connection:
            connection.settimeout(10)
            connection.sendall(AMQP_HEADER)
            answer = connection.recv(16)
    except OSError:
        return False
    return len(answer) >= 8 and answer[0] == AMQP_METHOD_FRAME


def mariadb_answers() -> bool:
    try:
        run("mariadb-ping", ["mariadb-admin", "--no-defaults", "-S", MARIADB_SOCKET, "-u", "root", "ping"], 5)
    except LabError:
        return False
    return True


def postgresql(program: str) -> Path:
    """A program of the newest PostgreSQL installed; Debian keeps most of them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    return found[-1] if found else Path(program)


def postgresql_answers() -> bool:
    try:
        run("postgresql-ping", [postgresql("pg_isready"), "-h", HOST, "-p", PORTS["postgresql"]], 5)
    except LabError:
        return False
    return True


MARIADB = Service(
    "mariadb",
    ("/usr/sbin/mariadbd", f"--defaults-file={MARIADB_CONF}"),
    ready=mariadb_answers,
    ports=(PORTS["mariadb"],),
)
POSTGRESQL = Service(
    "postgresql",
    (
        *(*AS_POSTGRES, str(postgresql("postgres")), "-D", f"{POSTGRESQL_ROOT}/data"),
        *("-h", HOST, "-p", str(PORTS["postgresql"]), "-k", str(POSTGRESQL_ROOT)),
        # What a power cut would lose is of no worth here; shared memory of the lab is small.
        *("-c", "synchronous_commit=off", "-c", "shared_buffers=64MB", "-c", "max_connections=200"),
    ),
    ready=postgresql_answers,
    ports=(PORTS["postgresql"],),
    # It waits for its clients to leave, and recovers from having been killed.
    leave_seconds=15,
)
RABBITMQ = Service(
    "rabbitmq",
    ("/usr/lib/rabbitmq/bin/rabbitmq-server",),
    ready=amqp_answers,
    env=RABBIT_ENV,
    ports=(PORTS["rabbitmq"], PORTS["rabbitmq-dist"]),
)
MEMCACHED = Service(
    "memcached",
    ("memcached", "-u", "root", "-l", HOST, "-p", str(PORTS["memcached"]), "-U", "0", "-m", "64"),
    ready=lambda: port_open(PORTS["memcached"]),
    ports=(PORTS["memcached"],),
)


def up_mariadb() -> None:
    render("my.cnf", MARIADB_CONF)
    made = MARIADB_ROOT / "made"
    if not made.exists():
        shutil.rmtree(MARIADB_ROOT / "data", ignore_errors=True)
        (MARIADB_ROOT / "data").mkdir()
        (MARIADB_ROOT / "tmp").mkdir(exist_ok=True)
        run(
            "mariadb-make",
            [
                "mariadb-install-db",
                f"--defaults-file={MARIADB_CONF}",
                "--user=root",
                f"--datadir={MARIADB_ROOT}/data",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
        )
        made.touch()
    start(MARIADB)
    wait(MARIADB)
    statements = (HERE / "templates" / "databases.sql").read_text()
    run(
        "mariadb-make",
        ["mariadb", "--no-defaults", "-S", MARIADB_SOCKET, "-u", "root"],
        stdin=statements.replace("{{database_password}}", DATABASE_PASSWORD),
    )


# psql makes a statement of each row of an answer: PostgreSQL has no CREATE DATABASE IF NOT EXISTS.
POSTGRESQL_DATABASE = """\
SELECT 'CREATE DATABASE bfv' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'bfv')
\\gexec
"""


def up_postgresql() -> None:
    made = POSTGRESQL_ROOT / "made"
    if not made.exists():
        shutil.rmtree(POSTGRESQL_ROOT, ignore_errors=True)
        write(POSTGRESQL_ROOT / "password", DATABASE_PASSWORD)
        shutil.chown(POSTGRESQL_ROOT, "postgres", "postgres")
        run(
            "postgresql-make",
            [
                *(*AS_POSTGRES, postgresql("initdb"), "-D", POSTGRESQL_ROOT / "data", "-U", "bfv", "-E", "UTF8"),
                *("--locale=C.UTF-8", "-A", "scram-sha-256", f"--pwfile={POSTGRESQL_ROOT}/password", "--no-sync"),
            ],
        )
        made.touch()
    start(POSTGRESQL)
    wait(POSTGRESQL)
    run(
        "postgresql-make",
        [postgresql("psql"), "-h", HOST, "-p", PORTS["postgresql"], "-U", "bfv", "-d", "postgres", "-qAt"],
        env={"PGPASSWORD": DATABASE_PASSWORD},
        stdin=POSTGRESQL_DATABASE,
    )


def up_rabbitmq() -> None:
    for name in ("mnesia", "log"):
        (RABBIT_ROOT / name).mkdir(parents=True, exist_ok=True)
    (RABBIT_ROOT / "enabled_plugins").write_text("[].\n")
    render("rabbitmq.conf", RABBIT_ROOT / "rabbitmq.conf")
    start(RABBITMQ)
    wait(RABBITMQ)


def up_memcached() -> None:
    start(MEMCACHED)
    wait(MEMCACHED)
