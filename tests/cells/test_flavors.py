# SPDX-License-Identifier: Apache-2.0
"""Flavors and who may use them, on tables that we made and on tables that nova makes."""

from dataclasses import replace

import pytest

from cells import Exists, Flavor, NotMapped, flavors
from cells.schema_api import flavor_extra_specs, flavor_projects
from cells.schema_api import flavors as table

SMALL = Flavor(0, "1", "m1.small", 1, 512, 10, ephemeral_gb=2, swap=64, rxtx_factor=2.0, description="for tests",
               extra_specs={"hw:cpu_policy": "shared", "a": "b"})  # fmt: skip
PRIVATE = Flavor(0, "2", "private", 2, 1024, 20, is_public=False, projects=("p", "q"))
DISABLED = Flavor(0, "3", "disabled", 2, 1024, 20, disabled=True)


@pytest.fixture
def made(api):
    return [flavors.create(api, flavor) for flavor in (SMALL, PRIVATE, DISABLED)]


def test_a_flavor_is_read_as_it_was_written(api, made):
    assert [replace(flavor, id=0) for flavor in made] == [SMALL, PRIVATE, DISABLED]
    assert [flavors.get(api, flavor.flavorid, None) for flavor in made] == made
    assert [flavors.get(api, flavor.name, None) for flavor in made] == made
    assert len({flavor.id for flavor in made}) == 3


def test_a_project_uses_public_flavors_and_those_it_was_given(api, made):
    assert flavors.list_flavors(api, "p") == made[:2]
    assert flavors.list_flavors(api, "other") == made[:1]
    assert flavors.list_flavors(api, None) == made
    assert flavors.get(api, "private", "q") == made[1]
    for name, project in (("private", "other"), ("2", "other"), ("disabled", "p"), ("unknown", None)):
        with pytest.raises(NotMapped, match=name):
            flavors.get(api, name, project)


def test_an_id_comes_before_a_name_and_case_counts(api, made):
    other = flavors.create(api, Flavor(0, "m1.small", "1", 8, 8, 8))
    assert flavors.get(api, "m1.small", "p") == other
    assert flavors.get(api, "1", "p") == made[0]
    with pytest.raises(NotMapped):
        flavors.get(api, "M1.Small", "p")


@pytest.mark.parametrize("same", [{"flavorid": "1"}, {"name": "m1.small"}])
def test_an_id_or_a_name_that_is_taken_is_refused(same, api, made):
    with pytest.raises(Exists):
        flavors.create(api, replace(Flavor(0, "9", "new", 1, 1, 1), **same))
    assert flavors.list_flavors(api, None) == made


def test_a_deleted_flavor_leaves_nothing(api, made):
    for flavor in made:
        flavors.delete(api, flavor.flavorid)
    with api.reader() as conn:
        for rows in (table, flavor_extra_specs, flavor_projects):
            assert conn.execute(rows.select()).all() == []
    with pytest.raises(NotMapped):
        flavors.delete(api, "1")


def test_nulls_of_old_rows_are_novas_defaults(api):
    with api.writer() as conn:
        conn.execute(table.insert().values(flavorid="f", name="f", vcpus=1, memory_mb=1, swap=0))
    found = flavors.get(api, "f", "p")
    assert found == Flavor(found.id, "f", "f", 1, 1, 0)


def test_a_description_and_extra_specs_are_written_over_what_is_there(api, made):
    small = flavors.describe(api, "1", None)
    assert small == replace(made[0], description=None)
    flavors.set_extra_specs(api, small, {"a": "c", "n": "1"})
    assert flavors.get(api, "1", None).extra_specs == {"hw:cpu_policy": "shared", "a": "c", "n": "1"}
    flavors.delete_extra_spec(api, small, "n")
    for again in (lambda: flavors.delete_extra_spec(api, small, "n"), lambda: flavors.describe(api, "9", "x")):
        with pytest.raises(NotMapped):
            again()
    flavors.delete(api, "1")
    with pytest.raises(NotMapped):
        flavors.set_extra_specs(api, small, {"a": "b"})
    with api.reader() as conn:
        assert conn.execute(flavor_extra_specs.select()).all() == []


def test_access_is_given_once_and_taken_once(api, made):
    private = made[1]
    flavors.add_access(api, private, "r")
    assert flavors.get(api, "2", "r").projects == ("p", "q", "r")
    with pytest.raises(Exists, match="Flavor access already exists for flavor 2 and project r combination"):
        flavors.add_access(api, private, "r")
    flavors.remove_access(api, private, "r")
    with pytest.raises(NotMapped, match="Flavor access not found for 2 / r combination"):
        flavors.remove_access(api, private, "r")
