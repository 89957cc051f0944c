# SPDX-License-Identifier: Apache-2.0
import pytest

from bfv import config
from bfv.errors import BadConfig
from bfv.fit import Placing
from imagebackends.types import Target

GOOD = """
[DEFAULT]
cells = a,b
[cell:a]
volume_type = type-a
availability_zone = zone-a
backend = h@a#p
tiers = fast:type-a-fast
tier_backends = fast:h@fast#p
root = local
[cell:b]
availability_zone = zone-b
"""


def load(tmp_path, text):
    path = tmp_path / "bfv.conf"
    path.write_text(text)
    return config.load(path)


def test_a_cell_has_a_target_for_each_tier(tmp_path):
    conf = load(tmp_path, GOOD)

    assert config.targets(conf) == (
        Target("a", "default", "type-a", "zone-a", "h@a#p"),
        Target("a", "fast", "type-a-fast", "zone-a", "h@fast#p"),
        Target("b", "default", None, "zone-b", None),
    )
    assert config.rules(conf).by_cell == {"a": "local"}


def test_two_clouds_in_one_process_do_not_share_options(tmp_path):
    first = load(tmp_path, GOOD)
    second = load(tmp_path, "[boot]\nmin_volume_size = 7\n")

    assert (first.boot.min_volume_size, second.boot.min_volume_size) == (1, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[boot]\nroot = banana\n", "banana"),
        ("[engine]\nlease = soon\n", "soon"),
        ("[boot\n", "bfv.conf"),
        ("[DEFAULT]\ncells = c\n", r"\[cell:c\] needs a volume_type or an availability_zone"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(BadConfig, match=words):
        config.targets(load(tmp_path, text))


def test_what_nova_calls_by_these_names_rules_the_choice_of_a_host(tmp_path):
    text = """
[scheduler]
default_availability_zone = somewhere
initial_cpu_allocation_ratio = 2
initial_ram_allocation_ratio = 1.5
initial_disk_allocation_ratio = 3
service_down_time = 10
[cinder]
cross_az_attach = false
"""
    assert config.placing(load(tmp_path, text)) == Placing(2.0, 1.5, 3.0, "somewhere", False, 10.0)
    assert config.placing(load(tmp_path, "")) == Placing()


def test_a_missing_url_is_named(tmp_path):
    with pytest.raises(BadConfig, match=r"Set \[database\] api_connection"):
        config.required(load(tmp_path, ""), "database", "api_connection")
