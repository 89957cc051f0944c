# SPDX-License-Identifier: Apache-2.0
"""A MariaDB for one benchmark, with room for all of it in memory: the lab's own is small and needs the lab."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from lab.process import free_port

PASSWORD = "bench"
READY_SECONDS = 60.0
CONFIG = """\
[mysqld]
user = root
datadir = {home}/data
socket = {home}/socket
pid-file = {home}/pid
bind-address = 127.0.0.1
port = {port}
skip-name-resolve
skip-log-bin
performance-schema = OFF
innodb-buffer-pool-size = {buffer_mib}M
innodb-log-file-size = 512M
innodb-flush-log-at-trx-commit = 0
innodb-flush-method = O_DIRECT_NO_FSYNC
innodb-doublewrite = 0
max-connections = 1000
max-allowed-packet = 64M
character-set-server = utf8mb3
collation-server = utf8mb3_general_ci
"""


@contextlib.contextmanager
def running(home: Path, buffer_mib: int) -> Iterator[str]:
    """Serve an empty MariaDB from a directory, which is emptied before and after; give its URL."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    port = free_port()
    config = home / "my.cnf"
    config.write_text(CONFIG.format(home=home, port=port, buffer_mib=buffer_mib))
    with (home / "log").open("ab") as log:
        subprocess.run(
            ["mariadb-install-db", f"--defaults-file={config}", "--user=root", f"--datadir={home}/data",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            stdout=log, stderr=log, check=True,
        )  # fmt: skip
        server = subprocess.Popen(["mariadbd", f"--defaults-file={config}"], stdout=log, stderr=log)
    try:
        _let_in(home, server)
        yield f"mysql+pymysql://bench:{PASSWORD}@127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def _let_in(home: Path, server: "subprocess.Popen[bytes]") -> None:
    """Make the account as soon as the server answers."""
    engine = sa.create_engine(f"mysql+pymysql://root@localhost/?unix_socket={home}/socket", poolclass=sa.NullPool)
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with engine.connect() as conn:
                conn.exec_driver_sql(f"GRANT ALL ON *.* TO bench@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
            return
        except sa.exc.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
