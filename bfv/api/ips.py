# SPDX-License-Identifier: Apache-2.0
"""A server's addresses as a resource of their own (``nova/api/openstack/compute/ips.py``)."""

from bfv.api import addresses, schemas
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.serverview import known


def index(call: Call) -> Answer:
    """List a server's addresses."""
    return Answer({"addresses": addresses.of(known(call).network_info)})


def show(call: Call) -> Answer:
    """Show a server's addresses in one network."""
    found, label = addresses.of(known(call).network_info), call.ids["network_label"]
    if label not in found:
        raise Fault(404, "Instance is not a member of specified network")
    return Answer({label: found[label]})


ROUTES = (
    Route("GET", "/servers/{server_id}/ips", index, "ips:index", query=schemas.no_query),
    Route("GET", "/servers/{server_id}/ips/{network_label}", show, "ips:show", query=schemas.no_query),
)
