# SPDX-License-Identifier: Apache-2.0
"""`bfv compare` as its user sees it, on the cloud in its own process."""

import json
import xml.etree.ElementTree as ET

import pytest

from bfv import cli
from bfv.compare import picture, table
from bfv.compare.values import Boot, Comparison, Cost, Series

pytestmark = pytest.mark.filterwarnings("ignore:The image backend rbd is deprecated:DeprecationWarning")
SVG = "{http://www.w3.org/2000/svg}"


def test_embedded_compares_draws_and_tells_that_it_is_mocked(capsys, tmp_path):
    code = cli.main(
        ["--json", "compare", "--embedded", "--cells", "cell1", "--count", "1", "--picture", str(tmp_path / "a" / "b")]
    )
    said = capsys.readouterr()

    assert code == 0
    assert "MOCKED CLOUD" in said.err
    found = json.loads(said.out)
    assert [(each["cell"], each["backend"], each["bytes_equal"]) for each in found["series"]] == [
        ("cell1", "cinder", True),
        ("cell1", "rbd", True),
    ]
    assert (tmp_path / "a" / "b.png").read_bytes().startswith(b"\x89PNG")
    words = {each.text for each in ET.parse(tmp_path / "a" / "b.svg").iter(f"{SVG}text")}
    assert {"Cold boot", "Warm boot", "Boots at once", "Space of all disks", "cell1", "cinder", "rbd"} <= words


def test_without_an_image_it_says_what_to_do(capsys):
    assert cli.main(["compare"]) == 1
    assert "--embedded" in capsys.readouterr().err


def comparison(**changes):
    cinder = Series(
        "cinder",
        "cell1",
        {"cold": [Boot(2.0, {"cinder": 5}, False, 100, 50, 1)], "warm": [Boot(0.5, {"cinder": 4}, True, 0, 0, 0)]},
        deletes=[Cost(0.2, {"cinder": 3}), Cost(0.4, {"cinder": 5}), Cost(0.3, {"cinder": 4})],
        storm=3, per_minute=60.0, held=50, disks=2, bytes_equal=True,
    )  # fmt: skip
    boots = {
        "cold": [Boot(0.49, {"librbd": 9}, False, 100, 50, 1)],
        "warm": [Boot(0.49, {"librbd": 9}, False, 100, 50, 1)],
    }
    rbd = Series("rbd", "cell1", boots, storm=3, per_minute=30.0, held=100, disks=2, bytes_equal=False, why="no room")
    return Comparison("i", "image", 100, "raw", 1, [cinder, rbd], **changes)


def test_the_table_says_which_is_better_and_what_is_not_known():
    rows = {what: (cinder, rbd, better) for what, cinder, rbd, better in table.rows(comparison(), "cell1")}

    assert rows["cold boot, s"] == ("2.00", "0.49", "rbd, 4.1 x")
    assert rows["warm boot, s"] == ("0.50", "0.49", "=")
    assert rows["3 at once, a minute"] == ("60", "30", "cinder, 2.0 x")
    assert rows["warm boot: bytes from Glance"] == ("0", "0 KiB", "cinder")
    assert rows["space of all 2 disks"] == ("0 KiB", "0 KiB", "cinder, 2.0 x")
    # What cinder-volume asks of librbd is not seen, so neither is the better.
    assert rows["warm boot: librbd calls of ours"] == ("0", "9", "")
    assert rows["disk deleted, s"] == ("0.30 (0.20..0.40)", "", "")
    assert rows["exactly the image's bytes"] == ("yes", "NO", "cinder")
    assert rows["ended early"] == ("", "no room", "")
    assert "snapshot, s" not in rows
    assert table.title(comparison(), "cell1") == "cell1: the image is in another cell's Ceph"


def test_a_picture_is_drawn_also_of_what_ended_before_it_began(tmp_path):
    nothing = [Series(each, "cell1", {"cold": [], "warm": []}, why="no room") for each in ("cinder", "rbd")]
    files = picture.draw(Comparison("i", "image", 100, "raw", 1, nothing), tmp_path / "one")

    assert [each.name for each in files] == ["one.svg", "one.png"]
    assert [each.text for each in ET.parse(files[0]).iter(f"{SVG}text")].count("none") == 8
