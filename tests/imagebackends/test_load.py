# SPDX-License-Identifier: Apache-2.0
"""A backend is found by its name, ours and one of another package alike."""

import sys

import pytest
from stevedore import ExtensionManager

from imagebackends import Settings, load
from imagebackends.backend import Reimages, Snapshots
from imagebackends.cinder.backend import CinderBackend
from imagebackends.errors import BadRequest


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module with these entry points, as pip leaves it."""

    def install(source, **points):
        info = tmp_path / "foreign_backend-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-backend\nVersion: 1.0\n")
        lines = "".join(f"{name} = {where}\n" for name, where in points.items())
        (info / "entry_points.txt").write_text(f"[imagebackends]\n{lines}")
        (tmp_path / "foreign_backend.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        # A process reads entry points once.
        monkeypatch.setattr(ExtensionManager, "ENTRY_POINT_CACHE", {})

    yield install
    sys.modules.pop("foreign_backend", None)


FOREIGN = """
class Foreign:
    def __init__(self, settings, session):
        self.settings, self.session = settings, session
"""


def test_cinder_is_loaded_with_what_it_can_do(settings, session):
    backend = load("cinder", settings, session)

    assert type(backend) is CinderBackend
    assert isinstance(backend, Reimages)
    assert isinstance(backend, Snapshots)
    assert (backend.clients.settings, backend.clients.session) == (settings, session)


def test_without_a_session_it_gets_one_that_waits_no_longer_than_the_settings_say():
    settings = Settings(connect_timeout=1.5, read_timeout=7.0, insecure=True)

    session = load("cinder", settings).clients.session

    assert (session.timeout, session.verify) == ((1.5, 7.0), False)


@pytest.mark.parametrize(
    ("settings", "verify"),
    [(Settings(), True), (Settings(cafile="/ca.pem"), "/ca.pem"), (Settings(insecure=True), False)],
)
def test_certificates_are_checked_unless_told_otherwise(settings, verify):
    assert load("cinder", settings).clients.session.verify == verify


def test_an_unknown_name_lists_those_there_are(install):
    install(FOREIGN, foreign="foreign_backend:Foreign")

    with pytest.raises(BadRequest, match="No image backend is called nfs; installed are: cinder, foreign, rbd"):
        load("nfs", Settings())


def test_a_backend_of_another_package_is_loaded(install, settings, session):
    install(FOREIGN, foreign="foreign_backend:Foreign")

    backend = load("foreign", settings, session)

    assert type(backend).__module__ == "foreign_backend"
    assert (backend.settings, backend.session) == (settings, session)


def test_a_broken_package_does_not_hinder_the_others(install, settings, session):
    install("import nothing_of_this_name", foreign="foreign_backend:Foreign")

    assert type(load("cinder", settings, session)) is CinderBackend
    with pytest.raises(BadRequest, match="foreign"):
        load("foreign", settings, session)
