# SPDX-License-Identifier: Apache-2.0
"""Make and remove a throw-away volume in a cell: what no API tells, a volume shows. Journalled like every other act."""

import time
import uuid

from bfv import outside
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, Intent
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.types import Access, DiskSpec, Target


def probe_cell(parts: Parts, access: Access, target: Target, image_id: str) -> str:
    """Make a volume of an image in the service user's project, remove it, and return what was seen.

    Raises Failed, NoRoom, NotFound, MaybeRunning; what is left after a crash is removed by ``repair``.
    """
    image = parts.images.find(access, image_id)
    intent = parts.journal.open(
        "probe", str(uuid.uuid4()), project_id=access.project_id, user_id="-", request_id=new_request_id(),
        request={"image": image.id}, cell=target.cell,
    )  # fmt: skip
    job = Job(parts, intent)
    size = max(1, -(-(image.virtual_size or image.size) // (1 << 30)), image.min_disk)
    spec = DiskSpec("bfv-probe", size, target, "image", image.id, "")
    began = time.monotonic()
    try:
        disk = outside.wait_ready(job, outside.volume(job, "probe", spec), size)
        outside.check_place(disk, target)
        seconds = time.monotonic() - began
    finally:
        outside.release(job)
        job.close(DONE)
    return f"a volume of {image.disk_format} image {image.id} was ready on {disk.backend} in {seconds:.1f} s"


def run(parts: Parts, intent: Intent) -> None:
    """Remove what a probe left behind."""
    job = Job(parts, intent)
    outside.release(job)
    job.close(CANCELLED)
