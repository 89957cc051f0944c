# SPDX-License-Identifier: Apache-2.0
"""A deployment that nova's own `nova-manage` made, on the lab's MariaDB, and nova's objects beside our code on it."""

import dataclasses
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from cells import Cells, Database, Flavor, Registry, flavors
from lab import nova as real

SMALL = Flavor(0, "7", "m1.small", 2, 2048, 20, ephemeral_gb=5, swap=64, extra_specs={"hw:cpu_policy": "shared"})


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Databases of a real nova as our code opens them, and nova itself."""

    api: Database
    registry: Registry
    cells: Cells
    urls: dict[str, str]
    config: Path
    nova: real.Nova

    def of(self, name: str) -> Database:
        return self.cells.of(self.registry.cell(name))


@contextmanager
def deployed(home: Path, release: str) -> Iterator[Deployment]:
    """Make a deployment of a release with two cells; everything is gone at the end."""
    real.install(release)
    server = sa.make_url(os.environ["BFV_TEST_MARIADB"])
    engine = sa.create_engine(server.set(database=""), isolation_level="AUTOCOMMIT")
    names = {name: f"bfv_nova_{name}_{uuid.uuid4().hex[:8]}" for name in ("api", "cell0", "cell1", "cell2")}
    with engine.connect() as conn:
        for name in names.values():
            conn.execute(sa.text(f"CREATE DATABASE {name} CHARACTER SET utf8mb3"))
    urls = {key: server.set(database=name).render_as_string(hide_password=False) for key, name in names.items()}
    try:
        config = real.deploy(home, urls, release)
        api = Database("api", urls["api"])
        cells = Cells(lambda cell: Database(cell.name, cell.database_connection), cell_timeout=60)
        with real.Nova(config, release) as nova:
            yield Deployment(api, Registry(api, urls["api"]), cells, urls, config, nova)
        cells.close()
        api.close()
    finally:
        with engine.connect() as conn:
            for name in names.values():
                conn.execute(sa.text(f"DROP DATABASE {name}"))
        engine.dispose()


@pytest.fixture(scope="session")
def deployment(tmp_path_factory) -> Iterator[Deployment]:
    """The newest nova."""
    with deployed(tmp_path_factory.mktemp("nova"), real.NEWEST) as made:
        yield made


@pytest.fixture
def nova(deployment) -> real.Nova:
    return deployment.nova


@pytest.fixture(scope="session")
def flavor(deployment) -> Flavor:
    """A flavor that we made."""
    return flavors.create(deployment.api, SMALL)


@pytest.fixture
def project() -> str:
    """A project that no other test uses."""
    return uuid.uuid4().hex
