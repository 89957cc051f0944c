# SPDX-License-Identifier: Apache-2.0
"""The rbd backend is off unless a cell has Ceph, says once that it goes, and needs librbd only where it is used."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from imagebackends import Settings, load
from imagebackends.backend import Reimages, Snapshots
from imagebackends.errors import BadRequest
from imagebackends.rbd import bindings
from imagebackends.rbd.backend import RbdBackend
from imagebackends.types import Ceph

ROOT = Path(__file__).parents[3]


def in_a_process(source, *words):
    done = subprocess.run(
        [sys.executable, *words, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_without_a_ceph_conf_it_is_off():
    with pytest.raises(BadRequest, match=r"is off: name the ceph\.conf of each cell"):
        load("rbd", Settings())


def test_it_says_once_that_it_goes_and_what_to_do():
    out, err = in_a_process(
        """
import logging, warnings
logging.basicConfig(format="LOG %(levelname)s %(message)s")
from imagebackends import Settings
from imagebackends.rbd.backend import RbdBackend
from imagebackends.rbd.bindings import Bindings
from imagebackends.types import Ceph
settings = Settings(ceph={"cell1": Ceph("/etc/ceph/cell1.conf")})
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for _ in range(3):
        RbdBackend(settings, bindings=Bindings(None, None)).close()
print([(each.category.__name__, str(each.message)) for each in told])
"""
    )
    assert out.count("DeprecationWarning") == 1
    assert len(err.splitlines()) == 1
    for words in (out, err):
        assert "use the backend cinder" in words
        assert "bfv migrate plan" in words
    assert err.startswith("LOG WARNING ")


def test_the_other_backends_neither_warn_nor_load_librbd():
    source = """
import sys
from imagebackends import Settings, load
load("cinder", Settings())
print(sorted({"rbd", "rados"} & set(sys.modules)))
"""
    assert in_a_process(source, "-W", "error::DeprecationWarning:imagebackends") == ("[]\n", "")


def test_where_librbd_is_missing_the_error_says_what_to_install(tmp_path):
    source = f"""
import sys
sys.path = [each for each in sys.path if "dist-packages" not in each]
from imagebackends.errors import Unsupported
from imagebackends.rbd import bindings
try:
    bindings.load({str(tmp_path)!r})
except Unsupported as error:
    print(error)
"""
    out, _ = in_a_process(source)
    assert "install the distribution's python3-rbd" in out
    assert str(tmp_path) in out


def test_modules_are_taken_from_the_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "rados", raising=False)
    monkeypatch.delitem(sys.modules, "rbd", raising=False)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "dist-packages" not in each])
    (tmp_path / "rados.py").write_text("HERE = 'rados'\n")
    (tmp_path / "rbd.py").write_text("import rados\nHERE = f'rbd on {rados.HERE}'\n")

    found = bindings.load(str(tmp_path))
    assert (found.rados.HERE, found.rbd.HERE) == ("rados", "rbd on rados")
    monkeypatch.delitem(sys.modules, "rados")
    monkeypatch.delitem(sys.modules, "rbd")


def test_a_module_that_cannot_be_loaded_is_not_left_half_loaded(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "rados", raising=False)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "dist-packages" not in each])
    (tmp_path / "rados.py").write_text("raise RuntimeError('librados.so.2 is of another release')\n")

    with pytest.raises(RuntimeError, match="another release"):
        bindings.load(str(tmp_path))
    assert "rados" not in sys.modules


def test_it_offers_what_it_can_do_and_no_more(backend):
    assert isinstance(backend, Snapshots)
    assert not isinstance(backend, Reimages)


def test_cells_whose_ids_would_be_alike_are_refused():
    # These two names have one CRC-32.
    ceph = {name: Ceph("/etc/ceph/ceph.conf") for name in ("plumless", "buckeroo")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with pytest.raises(BadRequest, match="plumless, buckeroo"):
            RbdBackend(Settings(ceph=ceph), bindings=bindings.Bindings(None, None))


def test_the_configuration_turns_it_on_for_the_cells_that_name_a_ceph_conf(tmp_path):
    from bfv import config

    path = tmp_path / "bfv.conf"
    path.write_text(
        "[DEFAULT]\ncells = cell1,cell2,cell3\n[storage]\nceph_python = /opt/ceph\n"
        "[cell:cell1]\nceph_conf = /etc/ceph/one.conf\n"
        "[cell:cell2]\nceph_conf = /etc/ceph/two.conf\nceph_user = bfv\nnova_pool = nova\nglance_pool = images\n"
        "libvirt_secret = 6f2a\n"
    )

    settings = config.storage(config.load(path))
    assert settings.ceph_python == "/opt/ceph"
    assert settings.ceph == {
        "cell1": Ceph("/etc/ceph/one.conf", "nova", "vms", None, None),
        "cell2": Ceph("/etc/ceph/two.conf", "bfv", "nova", "images", "6f2a"),
    }
