# SPDX-License-Identifier: Apache-2.0
"""A nova that runs guests on the lab: its newest release with placement and libvirt, of one cell on the first Ceph.

It is beside the lab and not of it: `up` does not start it, `down` ends it. Its images are read through a door of
Glance's own that tells their locations, without which nova clones nothing; the compute service of the catalog stays
the stand-in.
"""

import shutil
import sys
from pathlib import Path

from lab import cloud, hypervisor, install, nova
from lab.backing import RABBIT_ENV
from lab.process import Service, main_pid, poll, run, start, stop, wait
from lab.rest import answers, login
from lab.settings import (
    AUTH_URL,
    CELLS,
    DATABASE_PASSWORD,
    ETC,
    HERE,
    HOST,
    LAB,
    MARIADB_SOCKET,
    PORTS,
    RABBIT_PASSWORD,
    SERVICE_PASSWORD,
    LabError,
    render,
    url,
    write,
)

HOME = LAB / "realnova"
VENV = HOME / "venv"
API_CONF, COMPUTE_CONF, PLACEMENT_CONF = (HOME / "etc" / f"{name}.conf" for name in ("nova", "compute", "placement"))
GLANCE_ETC = ETC / "glance-locations"
PLACEMENT_RELEASE = "16.0.0"
WANTED = (f"nova=={nova.NEWEST}", f"openstack-placement=={PLACEMENT_RELEASE}", "PyMySQL", "gunicorn")
MODULES = ("rbd.cpython*.so", "rados.cpython*.so", "libvirt.py", "libvirtmod.cpython*.so")
VHOST = "nova"
CELL, COMPUTE = "cell1", "compute1"
DATABASES = {name: f"bfv_lab_{name}" for name in ("nova_api", "nova_cell0", "nova_cell1", "placement")}
CREDENTIALS = f"""\
auth_type = password
auth_url = {AUTH_URL}
username = nova
password = {SERVICE_PASSWORD}
project_name = service
user_domain_id = default
project_domain_id = default"""


def database(name: str) -> str:
    return f"mysql+pymysql://bfv:{DATABASE_PASSWORD}@{HOST}:{PORTS['mariadb']}/{DATABASES[name]}?charset=utf8"


def web(name: str, folder: str) -> Service:
    """An API behind gunicorn, whose own words must be in no command line: the applications read that, too."""
    return Service(
        name,
        (str(VENV / "bin" / "gunicorn"),),
        ready=lambda: answers(url(name, "/")),
        ports=(PORTS[name],),
        env={"GUNICORN_CMD_ARGS": f"--config {gunicorn_conf(name)}", folder: str(HOME / "etc")},
    )


def gunicorn_conf(name: str) -> Path:
    return HOME / "etc" / f"{name}.gunicorn.py"


def worker(name: str, conf: object) -> Service:
    return Service(name, (str(VENV / "bin" / name), "--config-file", str(conf)), leave_seconds=30)


NEUTRONSTUB = Service(
    "neutronstub",
    (sys.executable, "-m", "lab.neutronstub"),
    ready=lambda: answers(url("neutronstub", "/")),
    env={"PYTHONPATH": str(HERE.parent)},
    ports=(PORTS["neutronstub"],),
)
GLANCE = Service(
    "glance-locations",
    (f"{cloud.VENV_BIN}/uwsgi", "--ini", f"{GLANCE_ETC}/uwsgi.ini"),
    ready=lambda: answers(url("glance-locations", "/")),
    ports=(PORTS["glance-locations"],),
)
PLACEMENT, API = web("placement", "OS_PLACEMENT_CONFIG_DIR"), web("nova-api", "OS_NOVA_CONFIG_DIR")
APPLICATIONS = {"placement": "placement.wsgi.api:application", "nova-api": "nova.wsgi.osapi_compute:application"}
CONDUCTOR, SCHEDULER = worker("nova-conductor", COMPUTE_CONF), worker("nova-scheduler", API_CONF)
COMPUTE_SERVICE = worker("nova-compute", COMPUTE_CONF)
# In the order in which they start.
SERVICES = (NEUTRONSTUB, GLANCE, hypervisor.VIRTLOGD, hypervisor.LIBVIRTD, PLACEMENT, CONDUCTOR, SCHEDULER, API,
            COMPUTE_SERVICE)  # fmt: skip


def install_all() -> None:
    """Install QEMU, libvirt, and an environment of nova and placement. Raises LabError."""
    install.install_packages(hypervisor.PACKAGES)
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text().split() == list(WANTED):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    HOME.mkdir(parents=True, exist_ok=True)
    install.command([install.PYTHON, "-m", "venv", VENV])
    install.command([VENV / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *WANTED])
    install.link_modules(VENV, MODULES)
    stamp.write_text("\n".join(WANTED))


def configure() -> None:
    for name in ("state/lock", "instances", "etc"):
        (HOME / name).mkdir(parents=True, exist_ok=True)
    values = {
        "home": HOME,
        "credentials": CREDENTIALS,
        "transport": f"rabbit://lab:{RABBIT_PASSWORD}@{HOST}:{PORTS['rabbitmq']}/{VHOST}",
        "api_database": database("nova_api"),
        "ceph_conf": CELLS[0].conf,
        "secret": CELLS[0].secret_uuid,
    }
    # What runs for a cell knows the cell's database, what runs for all knows that of the dead.
    render("nova.conf", API_CONF, database=database("nova_cell0"), **values)
    render("nova.conf", COMPUTE_CONF, database=database("nova_cell1"), **values)
    render("placement.conf", PLACEMENT_CONF, database=database("placement"), credentials=CREDENTIALS)
    shutil.copy(VENV / "etc" / "nova" / "api-paste.ini", HOME / "etc")
    for name, application in APPLICATIONS.items():
        bind = f"{HOST}:{PORTS[name]}"
        # Native threads, as nova 34 has them by default.
        write(gunicorn_conf(name), f"bind = {bind!r}\nwsgi_app = {application!r}\nworker_class = 'gthread'\n"
                                   "threads = 4\ntimeout = 120\n")  # fmt: skip
    render("uwsgi.ini", GLANCE_ETC / "uwsgi.ini", port=PORTS["glance-locations"],
           module="glance.wsgi.api:application",
           more=cloud.GLANCE_UWSGI.replace(f"{ETC}/glance", str(GLANCE_ETC)))  # fmt: skip
    told = cloud.GLANCE_CONF.read_text()
    for name in ("show_image_direct_url", "show_multiple_locations"):
        told = told.replace(f"{name} = false", f"{name} = true")
    write(GLANCE_ETC / "glance-api.conf", told)
    hypervisor.configure()


def make_databases() -> None:
    """Make all databases and the cell, as nova's guide says, once."""
    made = HOME / "databases"
    if made.exists():
        return
    statements = [f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb3;"
                  for name in DATABASES.values()]  # fmt: skip
    root = ["mariadb", "--no-defaults", "-S", MARIADB_SOCKET, "-u", "root"]
    run("mariadb-make", root, stdin="\n".join(statements))
    for conf, *words in (
        (API_CONF, "api_db", "sync"),
        (API_CONF, "cell_v2", "map_cell0", "--database_connection", database("nova_cell0")),
        (API_CONF, "db", "sync"),
        (COMPUTE_CONF, "cell_v2", "create_cell", "--name", CELL),
        (COMPUTE_CONF, "db", "sync", "--local_cell"),
    ):
        run("nova-manage", [VENV / "bin" / "nova-manage", "--config-file", conf, *words], 180)
    made.touch()


def make_vhost() -> None:
    """Make a virtual host of the broker for nova alone."""
    control = "/usr/lib/rabbitmq/bin/rabbitmqctl"
    if VHOST not in run("rabbitmqctl", [control, "-q", "list_vhosts"], env=RABBIT_ENV).split():
        run("rabbitmqctl", [control, "-q", "add_vhost", VHOST], env=RABBIT_ENV)
    run("rabbitmqctl", [control, "-q", "set_permissions", "-p", VHOST, "lab", ".*", ".*", ".*"], env=RABBIT_ENV)


def up() -> None:
    """Bring nova up on a lab that is up, and wait until its host takes guests. Raises LabError."""
    if not (VENV / "installed").exists():
        raise LabError("nova is not installed: run `python3 -m lab nova-up` of this release")
    configure()
    make_databases()
    make_vhost()
    for service in SERVICES:
        start(service)
        if service in (hypervisor.LIBVIRTD, PLACEMENT):
            wait(service)
    hypervisor.define_secret()
    for service in SERVICES:
        wait(service)
    if not poll(takes_guests, 120, 1):
        raise LabError(f"nova's host {COMPUTE} takes no guests after 120 s; see {COMPUTE_SERVICE.log}")


def takes_guests() -> bool:
    """Whether the host reports, and is mapped to its cell: nova's scheduler looks for new ones by itself."""
    admin = login()
    services = admin.call("GET", url("nova-api", "/v2.1/os-services?binary=nova-compute"))["services"]
    hosts = run("nova-manage", [VENV / "bin" / "nova-manage", "--config-file", API_CONF, "cell_v2", "list_hosts"], 60)
    return COMPUTE in hosts and [each["state"] for each in services] == ["up"]


def down() -> None:
    """End nova with all its guests. Its databases stay."""
    if main_pid(hypervisor.LIBVIRTD):
        if main_pid(COMPUTE_SERVICE):
            stop(COMPUTE_SERVICE)
        hypervisor.end_guests()
    for service in reversed(SERVICES):
        stop(service)
