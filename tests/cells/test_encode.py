# SPDX-License-Identifier: Apache-2.0
"""The JSON in nova's columns: what is written is read again, and what others wrote is read, too."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cells import Flavor, encode

words = st.text(max_size=20)
numbers = st.integers(min_value=0, max_value=2**31 - 1)
flavors = st.builds(
    Flavor, id=numbers, flavorid=words, name=words, vcpus=numbers, memory_mb=numbers, root_gb=numbers,
    ephemeral_gb=numbers, swap=numbers, rxtx_factor=st.floats(allow_nan=False, allow_infinity=False),
    disabled=st.booleans(), is_public=st.booleans(), extra_specs=st.dictionaries(words, words),
)  # fmt: skip
properties = st.dictionaries(st.sampled_from(["hw_disk_bus", "os_distro", "img_config_drive", "x"]), words)
images = st.fixed_dictionaries(
    {"id": st.uuids().map(str), "name": words, "properties": properties},
    optional={"min_disk": numbers, "min_ram": numbers, "size": numbers, "disk_format": words, "status": words,
              "container_format": words, "tags": st.lists(words), "created_at": st.just("2026-01-02T03:04:05Z")},
)  # fmt: skip
json_values = st.recursive(st.none() | st.booleans() | numbers | words, lambda inner: st.lists(inner, max_size=3)
                           | st.dictionaries(words, inner, max_size=3), max_leaves=8)  # fmt: skip
specs = st.fixed_dictionaries({
    "server_id": st.uuids().map(str), "project_id": words.filter(bool), "user_id": st.none() | words,
    "flavor": flavors, "image": st.none() | images, "is_bfv": st.booleans(),
    "availability_zone": st.none() | words, "num_instances": st.integers(1, 99),
    "scheduler_hints": st.dictionaries(words, st.lists(words).map(tuple)),
})  # fmt: skip


# A busy machine is no reason to fail.
patient = settings(deadline=None)


def through_json(primitive):
    return json.loads(json.dumps(primitive))


@patient
@given(flavors)
def test_a_flavor_of_a_server_is_read_as_it_was_written(flavor):
    assert encode.load_instance_flavor(encode.dump_instance_flavor(flavor)) == flavor


@patient
@given(flavors, st.lists(words, min_size=1), words)
def test_who_may_use_a_flavor_and_its_description_stay_out_of_servers(flavor, projects, description):
    told = dataclasses.replace(flavor, projects=tuple(projects), description=description)
    assert encode.load_instance_flavor(encode.dump_instance_flavor(told)) == flavor


@patient
@given(specs)
def test_a_request_spec_is_read_as_it_was_written(spec):
    read = encode.read_request_spec(through_json(encode.request_spec(**spec)))
    assert {field.name: getattr(read, field.name) for field in dataclasses.fields(read)} == spec


@patient
@given(st.dictionaries(words, json_values))
def test_connection_info_is_read_as_it_was_written(info):
    assert encode.load_connection_info(encode.dump_connection_info(info)) == (info or None)


@pytest.mark.parametrize("text", [None, "", "{}", "null"])
def test_all_ways_to_have_no_connection_are_read(text):
    assert encode.load_connection_info(text) is None


@pytest.mark.parametrize("info", [None, {}])
def test_no_connection_is_written_as_null(info):
    assert encode.dump_connection_info(info) is None


def test_primitives_have_the_versions_of_novas_objects():
    flavor = Flavor(1, "f", "m1", 1, 512, 10)
    spec = encode.request_spec(
        server_id="s", project_id="p", user_id="u", flavor=flavor, image={"id": "i"}, is_bfv=True
    )
    data = spec["nova_object.data"]
    image = data["image"]
    found = [spec, data["flavor"], image, image["nova_object.data"]["properties"]]
    assert [(one["nova_object.name"], one["nova_object.version"]) for one in found] == [
        ("RequestSpec", "1.15"), ("Flavor", "1.2"), ("ImageMeta", "1.8"), ("ImageMetaProps", "1.37"),
    ]  # fmt: skip
    assert all(one["nova_object.namespace"] == "nova" for one in found)


def test_an_images_nulls_are_left_out_and_old_names_become_the_present_ones():
    image = {"id": "i", "checksum": None, "min_disk": 0, "links": [], "properties": {
        "architecture": "x86_64", "hw_disk_bus": "virtio", "block_device_mapping": [{"a": 1}]}}  # fmt: skip
    assert encode.read_image(encode.image_primitive(image)) == {
        "id": "i", "min_disk": 0, "properties": {"hw_architecture": "x86_64", "hw_disk_bus": "virtio"},
    }  # fmt: skip


def test_old_and_foreign_primitives_are_read():
    old = {"nova_object.name": "Flavor", "nova_object.version": "1.0", "nova_object.changes": ["id"],
           "nova_object.data": {"id": 7, "name": "m1", "flavorid": "f", "vcpus": 1, "memory_mb": 1, "root_gb": 1,
                                "ephemeral_gb": None, "rxtx_factor": None, "from_the_future": []}}  # fmt: skip
    assert encode.read_flavor(old) == Flavor(7, "f", "m1", 1, 1, 1)
    spec = encode.read_request_spec({"nova_object.version": "1.5", "nova_object.data": {
        "project_id": "p", "flavor": old, "scheduler_hints": {"group": "group-1"}}})  # fmt: skip
    assert (spec.is_bfv, spec.num_instances, spec.image, spec.scheduler_hints) == (
        False,
        1,
        None,
        {"group": ("group-1",)},
    )


@pytest.mark.parametrize("text", [None, "", "null", '{"cur": null, "old": null, "new": null}'])
def test_a_server_without_a_flavor_is_told_as_none(text):
    assert encode.load_instance_flavor(text) is None


def test_a_server_that_is_being_resized_has_its_current_flavor():
    cur, new = (encode.flavor_primitive(Flavor(n, str(n), str(n), n, n, n)) for n in (1, 2))
    text = json.dumps({"cur": cur, "old": None, "new": new})
    assert encode.load_instance_flavor(text) == Flavor(1, "1", "1", 1, 1, 1)
