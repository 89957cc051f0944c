# SPDX-License-Identifier: Apache-2.0
"""Glance's schemas of its own answers: glanceclient asks for them, and nova's API finds no image without."""

import os

ID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
DESCRIBED = {"rel": "describedby", "href": "{schema}"}
TEXT, TOLD = {"type": "string"}, {"type": "string", "readOnly": True}
NAME, HASH = {"type": ["null", "string"], "maxLength": 255}, {"type": ["null", "string"], "readOnly": True}
SIZE, FLAG, NUMBER = {"type": ["null", "integer"], "readOnly": True}, {"type": "boolean"}, {"type": "integer"}
STATES = ["queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"]
CONTAINERS = [None, "ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"]
DISKS = [None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"]
MEMBER = {
    "image_id": {**TEXT, "pattern": ID},
    "status": {**TEXT, "enum": ["pending", "accepted", "rejected"]},
    "schema": TOLD,
    **dict.fromkeys(("member_id", "created_at", "updated_at"), TEXT),
}
CHECKED = {
    "checksum": {**TEXT, "minLength": 32, "maxLength": 32},
    "os_hash_algo": {**TEXT, "maxLength": 64},
    "os_hash_value": {**TEXT, "maxLength": 128},
}
LOCATION = {
    "url": {**TEXT, "maxLength": 255},
    "metadata": {"type": "object"},
    "validation_data": {"type": "object", "writeOnly": True, "additionalProperties": False, "properties": CHECKED,
                        "required": ["os_hash_algo", "os_hash_value"]},
}  # fmt: skip
IMAGE = {
    "id": {**TEXT, "pattern": ID},
    "status": {**TOLD, "enum": STATES},
    "visibility": {**TEXT, "enum": ["community", "public", "private", "shared"]},
    "checksum": {**HASH, "maxLength": 32},
    "os_hash_algo": {**HASH, "maxLength": 64},
    "os_hash_value": {**HASH, "maxLength": 128},
    "container_format": {"type": ["null", "string"], "enum": CONTAINERS},
    "disk_format": {"type": ["null", "string"], "enum": DISKS},
    "tags": {"type": "array", "items": {**TEXT, "maxLength": 255}},
    "locations": {
        "type": "array",
        "items": {"type": "object", "required": ["url", "metadata"], "properties": LOCATION},
    },
    **dict.fromkeys(("name", "owner"), NAME),
    **dict.fromkeys(("protected", "os_hidden"), FLAG),
    **dict.fromkeys(("size", "virtual_size"), SIZE),
    **dict.fromkeys(("min_ram", "min_disk"), NUMBER),
    **dict.fromkeys(("created_at", "updated_at", "direct_url", "self", "file", "stores", "schema"), TOLD),
}


def bare(schema):
    """Return a schema without the words that describe its fields to people."""
    if isinstance(schema, list):
        return [bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: bare(each) for name, each in schema.items() if not (name == "description" and isinstance(each, str))}


def asked(site, who, name):
    return site.image(who, "GET", f"/v2/schemas/{name}")


def test_of_an_image(site, member, make_image):
    image = bare(asked(site, member, "image").json())
    assert image == {
        "name": "image",
        "properties": IMAGE,
        "additionalProperties": TEXT,
        "links": [{"rel": "self", "href": "{self}"}, {"rel": "enclosure", "href": "{file}"}, DESCRIBED],
    }
    shown = site.image(member, "GET", f"/v2/images/{make_image(os.urandom(4096))}").json()
    assert set(shown) <= set(IMAGE)
    images = bare(asked(site, member, "images").json())
    assert images == {
        "name": "images",
        "properties": {"images": {"type": "array", "items": image}, "first": TEXT, "next": TEXT, "schema": TEXT},
        "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}, DESCRIBED],
    }


def test_of_a_member(site, member):
    one = {"name": "member", "properties": MEMBER}
    assert bare(asked(site, member, "member").json()) == one
    assert bare(asked(site, member, "members").json()) == {
        "name": "members",
        "properties": {"members": {"type": "array", "items": one}, "schema": TEXT},
        "links": [DESCRIBED],
    }


def test_of_nothing_and_for_nobody(site, member):
    assert asked(site, member, "nothing").status_code == 404
    assert asked(site, None, "image").status_code == 401
