# SPDX-License-Identifier: Apache-2.0
"""Whether a project that a caller names is there (``nova/api/openstack/identity.py:verify_project_id``)."""

from bfv.api.call import Call
from bfv.api.faults import Fault


def check_project(call: Call, project_id: str) -> None:
    """Raise Fault 400 for a project that keystone does not know; where keystone does not say, it may be there."""
    if project_id == call.caller.project_id:
        return
    if call.cloud.parts.rights.has_project(call.caller, project_id) is False:
        raise Fault(400, f"Project ID {project_id[:255]} is not a valid project.")
