# SPDX-License-Identifier: Apache-2.0
"""The rbd backend passes the suite of all backends, on the mocked cloud and on real Ceph."""

import pytest

from imagebackends.conformance import BackendConformance, SnapshotsConformance
from imagebackends.types import Target


class TestRbd(BackendConformance, SnapshotsConformance):
    # Where the image is fetched; a clone is the shorter way, and is tried on real Ceph.
    @pytest.fixture(params=["cell2", pytest.param("cell1", marks=pytest.mark.lab)])
    def target(self, request):
        return Target(request.param, volume_type=request.param)

    @pytest.fixture
    def snapshot_id(self, backend, access, disks):
        made = backend.make_snapshot(access, disks.make().id, "conformance")
        yield made.id
        backend.remove_snapshot(access, made.id)
