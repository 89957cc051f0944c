# SPDX-License-Identifier: Apache-2.0
"""The suite sees each way to break a backend: a suite that everything passes proves nothing."""

import re

import pytest

from imagebackends.conformance import BackendConformance
from tests.imagebackends.conftest import EXAMPLE, TESTS, run_example

SUITE = {name for name in dir(BackendConformance) if name.startswith("test_")}
SNAPSHOTS = "from imagebackends.backend import Snapshots\n\n\n"
ONE_THREAD = "assert threading.current_thread() is threading.main_thread()"
# (what is broken: words of the example, other words, the tests that must see it)
BREAKS = {
    "size lost": ('spec.size, "available"', '1, "available"', ["a_blank_disk_has_no_image"]),
    "project lost": ("str(uuid.uuid4()), access.project_id", "str(uuid.uuid4()), ''", ["a_disk_of_an_image"]),
    "name lost": ("now, spec.name", "now, ''", ["a_disk_of_an_image"]),
    "local time": ("dt.datetime.now(dt.UTC)", "(dt.datetime.now(dt.UTC) + dt.timedelta(hours=3))", ["a_disk_of_an"]),
    "image lost": ("image_id=spec.source_id", "image_id=None", ["a_disk_of_an_image", "what_was_not_asked_for"]),
    "marker lost": ('{"marker": spec.marker}', '{"marker": ""}', ["a_lost_answer"]),
    "marker not read": ('if disk.metadata["marker"] == spec.marker', "", ["what_was_not_asked_for"]),
    "any size": ("(access.project_id, spec.size,", "(access.project_id, disk.size,", ["what_was_not_asked_for"]),
    "any type": ("spec.target.volume_type, spec.source_id", "disk.volume_type, spec.source_id", ["what_was_not"]),
    "any source": (
        *('spec.source_id, "available")', 'disk.image_id, "available")'),
        ["what_was_not_asked_for", "a_blank_disk_is_found"],
    ),
    "any project": ("asked = (access.project_id", "asked = (disk.project_id", ["what_was_not_asked_for"]),
    "any age": (" and disk.created_at.replace(tzinfo=dt.UTC) >= since", "", ["what_was_not", "of_several"]),
    "strictly younger": ("tzinfo=dt.UTC) >= since", "tzinfo=dt.UTC) > since", ["a_lost_answer", "of_several"]),
    "attached ones": ('spec.source_id, "available")', "spec.source_id, disk.status)", ["a_disk_that_is_bound"]),
    "youngest first": ("disk: disk.created_at)", "disk: disk.created_at, reverse=True)", ["of_several"]),
    "copies unsaid": ("tuple(marked[marked.index(ours[0]) + 1 :])", "()", ["of_several"]),
    "older copies": (
        "tuple(marked[marked.index(ours[0]) + 1 :])",
        "tuple(x for x in marked if x is not ours[0])",
        ["of_several"],
    ),
    "all see it": ("access.project_id != disk.project_id and not", "False and not", ["another_project"]),
    "all look": ("access.everywhere or disk.project_id == access.project_id}", "True}", ["another_project"]),
    "looks too far": ("for disk_id in disk_ids if", "for disk_id in self._disks if", ["look_returns"]),
    "sees nothing": ("if disk_id in self._disks]", "if not self._disks]", ["look_returns"]),
    "no words": ("return None", "return 3", ["explain"]),
    "deletes all": ("if self.attachments(access, disk_id=disk_id):", "if False:", ["a_disk_is_reserved"]),
    "deletes none": ("del self._disks[disk_id]", "pass", ["a_deleted_disk"]),
    "deletes unknown": (
        "            self.get(access, disk_id)\n",
        "            if disk_id not in self._disks: return\n",
        ["an_unknown_id", "a_deleted_disk"],
    ),
    "attaches twice": ('if disk.status != "available" and', "if False and", ["a_disk_is_reserved", "a_disk_in_use_is"]),
    "never again": (" and disk.servers != (server_id,)", "", ["a_disk_in_use_is"]),
    "free too soon": ('"reserved" if others else "available"', '"available"', ["a_disk_in_use_is"]),
    "all of a server go": (
        "if each.id == attachment_id:\n",
        "if (bound := self._bound.get(attachment_id)) and each.server_id == bound.server_id:\n"
        "                    attachment_id = each.id\n",
        ["disks_of_one_server"],
    ),
    "not reserved": ('status="reserved")\n', 'status="available")\n', ["a_disk_is_reserved", "a_disk_that_is_bound"]),
    "of any disk": ("disk_id in (None, each.disk_id) and", "", ["attachments_are_found"]),
    "of any server": ("and server_id in (None, each.server_id)", "", ["attachments_are_found"]),
    "youngest bound first": ("self._bound.values()\n", "reversed(self._bound.values())\n", ["attachments_are_found"]),
    "all attachments": ("and access.project_id == self._disks[each.disk_id].project_id", "", ["another_project"]),
    "no host": ('if not connector.get("host"):', "if False:", ["a_host_connects"]),
    "no driver": ('{"driver_volume_type": "memory", "host"', '{"host"', ["a_host_connects"]),
    "not completed": ('self._become(access, attachment_id, "in-use")', "pass", ["a_host_connects"]),
    "no server told": ('if status == "in-use" else ()', "if False else ()", ["a_host_connects"]),
    "detach once": (
        "            for each in self.attachments(access):",
        "            self._become(access, attachment_id, 'in-use')\n            for each in self.attachments(access):",
        ["an_unknown_id", "a_host_connects"],
    ),
    "detaches not": ("del self._bound[attachment_id]", "pass", ["a_host_connects"]),
    "connects nothing": ('raise NotFound(f"There is no attachment', 'raise BadRequest(f"', ["an_unknown_id"]),
    "ability unsaid": ("    def explain(", "    def reimage(self): pass\n\n    def explain(", ["each_ability"]),
    "ability unproven": (
        *(
            "class MemoryBackend(Backend):\n",
            f"{SNAPSHOTS}class MemoryBackend(Backend, Snapshots):\n    snapshot = None\n\n",
        ),
        ["each_ability"],
    ),
    "one thread only": (
        *(
            "        with self._lock:\n            disk = self._disks.get(",
            f"        {ONE_THREAD}\n        with self._lock:\n            disk = self._disks.get(",
        ),
        ["many_threads"],
    ),
}


QUICK = """
    late_seconds = ready_seconds = pytest.fixture(lambda self: 0.3)
    tick_seconds = pytest.fixture(lambda self: 0.002)
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Run the suite on all broken backends at once; return the names of the tests that fail, by what is broken."""
    tests = TESTS.replace("from memory_backend import MemoryBackend\n", "") + QUICK
    files, names = {}, {}
    for number, (name, (words, others, _)) in enumerate(BREAKS.items()):
        assert EXAMPLE.count(words) == 1, f"the example does not say once: {words}"
        names[str(number)] = name
        files[f"test_broken_{number}.py"] = f"{EXAMPLE.replace(words, others)}\n\n{tests}"
    files["test_whole.py"] = f"{EXAMPLE}\n\n{tests}"
    done = run_example(tmp_path_factory.mktemp("broken"), files)
    seen = {name: set() for name in BREAKS}
    for number, test in re.findall(r"^FAILED test_broken_(\d+)\.py::TestMemory::(\w+)", done.stdout, re.MULTILINE):
        seen[names[number]].add(test)
    assert re.search(r"^\d+ failed, \d+ passed", done.stdout, re.MULTILINE), done.stdout
    assert "test_whole" not in done.stdout, done.stdout
    return seen


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_backend_is_seen_by_the_test_that_is_about_it(seen, broken):
    expected = BREAKS[broken][2]

    unseen = [start for start in expected if not any(name.startswith(f"test_{start}") for name in seen[broken])]
    assert unseen == [], seen[broken]


def test_each_test_of_the_suite_has_been_seen_to_fail(seen):
    assert SUITE - set().union(*seen.values()) == set()
