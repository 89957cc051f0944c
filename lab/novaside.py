# SPDX-License-Identifier: Apache-2.0
"""Nova's side of a proof: runs in nova's own environment, takes a line of JSON, and answers with a line of JSON.

All work is done by nova's objects. It runs as the API of nova 34 runs by default, in native threads
(``nova/wsgi/osapi_compute.py``); for older releases that is said by OS_NOVA_DISABLE_EVENTLET_PATCHING.
"""

from nova import monkey_patch

if hasattr(monkey_patch, "patch"):
    monkey_patch.patch()

import json
import os
import sys
import time
import traceback

from nova import config, context, objects, quota
from nova.compute import instance_list
from oslo_config import cfg

# What nova/api/openstack/compute/servers.py:_get_servers asks for at microversion 2.69, in detail.
DETAIL = ["flavor", "info_cache", "metadata", "services", "tags", "trusted_certs"]
WHOLE = ["flavor", "system_metadata", "metadata", "info_cache"]
ADMIN = {"is_admin": True, "overwrite": False}


def admin(project=None):
    return context.RequestContext("admin", project, **ADMIN)


def member(project):
    return context.RequestContext("user", project, roles=["member"], is_admin=False, overwrite=False)


def told(value):
    """Return a field as JSON holds it; a nova object as its fields that are set."""
    if isinstance(value, objects.base.NovaObject):
        if hasattr(value, "objects"):
            return [told(each) for each in value.objects]
        return {name: told(getattr(value, name)) for name in value.fields if value.obj_attr_is_set(name)}
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [told(item) for item in value]
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%dT%H:%M:%S")
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def read(server):
    """Return all that nova's objects tell of a server."""
    ctx = admin()
    mapping = objects.InstanceMapping.get_by_instance_uuid(ctx, server)
    with context.target_cell(ctx, mapping.cell_mapping) as cell:
        instance = objects.Instance.get_by_uuid(cell, server, expected_attrs=WHOLE)
        devices = objects.BlockDeviceMappingList.get_by_instance_uuid(cell, server)
        faults = objects.InstanceFaultList.get_by_instance_uuids(cell, [server])
        return {
            "mapping": told(mapping),
            "instance": told(instance),
            "devices": told(devices),
            "is_volume_backed": bool(devices) and devices.root_bdm().is_volume,
            "faults": told(faults),
            "fault": told(objects.InstanceFault.get_latest_for_instance(cell, server)),
            "request_spec": told(objects.RequestSpec.get_by_instance_uuid(ctx, server)),
        }


def listed(project=None, limit=None, marker=None, detail=False):
    """Return the ids of a page in nova's order, and the cells that did not answer."""
    found, down = _page(project, limit, marker, detail)
    return {"servers": [each.uuid for each in found], "down": down}


def details(project):
    """Return all of a project's servers with what nova's view of details needs."""
    return told(_page(project, None, None, True)[0])


def _page(project, limit, marker, detail):
    ctx = member(project) if project else admin()
    filters = {"deleted": False, **({"project_id": project} if project else {})}
    return instance_list.get_instance_objects_sorted(
        ctx, filters, limit, marker, list(DETAIL if detail else []), None, None, cell_down_support=False
    )


def count(project, user=None):
    """Return what nova's quota counts in use."""
    return quota._instances_cores_ram_count(admin(project), project, user_id=user)


def make_flavor(**values):
    flavor = objects.Flavor(admin(), **values)
    flavor.create()
    return told(flavor)


def flavors():
    return told(objects.FlavorList.get_all(admin()))


def make(server, cell, project, user, name, flavor, image, metadata=None, fault=None, **columns):
    """Make a server by nova's objects, as its API and conductor do; ``image`` None boots from a volume."""
    ctx = admin(project)
    where = next(each for each in objects.CellMappingList.get_all(ctx) if each.name == cell)
    kind = objects.Flavor.get_by_flavor_id(ctx, flavor)
    mapping = objects.InstanceMapping(
        ctx, instance_uuid=server, project_id=project, user_id=user, queued_for_delete=False, cell_mapping=where
    )
    mapping.create()
    spec = objects.RequestSpec(
        ctx, instance_uuid=server, project_id=project, user_id=user, num_instances=1, is_bfv=image is None, flavor=kind,
        image=objects.ImageMeta(id=image, properties=objects.ImageMetaProps()) if image else None,
    )  # fmt: skip
    spec.create()
    with context.target_cell(ctx, where) as cctx:
        instance = objects.Instance(
            cctx, uuid=server, project_id=project, user_id=user, display_name=name, image_ref=image or "",
            metadata=metadata or {}, system_metadata={"image_min_disk": "1", "image_base_image_ref": image or ""},
            flavor=kind, old_flavor=None, new_flavor=None, instance_type_id=kind.id, memory_mb=kind.memory_mb,
            vcpus=kind.vcpus, root_gb=kind.root_gb, ephemeral_gb=kind.ephemeral_gb, **columns,
        )  # fmt: skip
        instance.create()
        volume = None if image else server[::-1]
        objects.BlockDeviceMapping(
            cctx, instance_uuid=server, source_type="image" if image else "volume", volume_id=volume, image_id=image,
            destination_type="local" if image else "volume", boot_index=0, device_name="/dev/vda", volume_size=1,
            delete_on_termination=True, connection_info='{"serial": "x"}' if volume else None,
        ).create()  # fmt: skip
        if fault:
            objects.InstanceFault(
                cctx, instance_uuid=server, code=500, message=fault, details="why", host=columns.get("host")
            ).create()
        return told(instance)


def delete(server):
    """Delete a server's record by nova's object, and say so in its mapping."""
    ctx = admin()
    mapping = objects.InstanceMapping.get_by_instance_uuid(ctx, server)
    with context.target_cell(ctx, mapping.cell_mapping) as cell:
        objects.Instance.get_by_uuid(cell, server).destroy()
    mapping.queued_for_delete = True
    mapping.save()


def _in_cell(name):
    ctx = admin()
    return context.target_cell(ctx, next(each for each in objects.CellMappingList.get_all(ctx) if each.name == name))


def hosts(cell):
    """Return the compute services of a cell with their nodes."""
    with _in_cell(cell) as cctx:
        services = objects.ServiceList.get_by_binary(cctx, "nova-compute", include_disabled=True)
        nodes = objects.ComputeNodeList.get_all(cctx)
    return {"services": told(services), "nodes": told(nodes)}


def make_host(cell, host, node, **values):
    """Register a host by nova's objects, as a nova-compute does."""
    with _in_cell(cell) as cctx:
        service = objects.Service(
            cctx, host=host, binary="nova-compute", topic="compute", report_count=0, disabled=False
        )
        service.create()
        objects.ComputeNode(cctx, uuid=values.pop("uuid"), host=host, hypervisor_hostname=node, cpu_info="",
                            hypervisor_version=1, **values).create()  # fmt: skip


def make_migration(server, cell, kind, status):
    """Write a move of a server by nova's objects, as its resize does, with the context that it leaves in the server."""
    with _in_cell(cell) as cctx:
        instance = objects.Instance.get_by_uuid(cctx, server)
        made = objects.Migration(
            cctx, instance_uuid=server, migration_type=kind, status=status, source_compute="h", dest_compute="h2",
            old_instance_type_id=1, new_instance_type_id=1,
        )  # fmt: skip
        made.create()
        instance.migration_context = objects.MigrationContext(
            cctx, instance_uuid=server, migration_id=made.id, old_numa_topology=None, new_numa_topology=None
        )
        instance.save()


def group(uuid):
    return told(objects.InstanceGroup.get_by_uuid(admin(), uuid))


def make_group(uuid, project, user, name, policy, rules, members):
    made = objects.InstanceGroup(
        admin(project), uuid=uuid, project_id=project, user_id=user, name=name, policy=policy, rules=rules
    )
    made.create()
    objects.InstanceGroup.add_members(admin(project), uuid, members)


def limits(project, user=None):
    """Return the limits that are written down for a project, or for a user in it."""
    if user is None:
        return objects.Quotas.get_all_by_project(admin(), project)
    return objects.Quotas.get_all_by_project_and_user(admin(), project, user)


def set_limit(project, name, limit, user=None):
    objects.Quotas.create_limit(admin(), project, name, limit, user_id=user)


def heads():
    """Return the newest revisions of both schemas that this release has, and how they came about."""
    from alembic.script import ScriptDirectory

    root = os.path.join(os.path.dirname(config.__file__), "db")
    scripts = {kind: ScriptDirectory(os.path.join(root, kind, "migrations")) for kind in ("api", "main")}
    return {kind: [step.revision for step in each.walk_revisions()][::-1] for kind, each in scripts.items()}


def timed_page(project=None, limit=None, marker=None, detail=True):
    """Return the seconds of one page, how many servers it has, and the last one."""
    began = time.perf_counter()
    found, down = _page(project, limit, marker, detail)
    seconds = time.perf_counter() - began
    if down:
        raise RuntimeError(f"cells {down} did not answer")
    return {"seconds": seconds, "servers": len(found), "last": found[-1].uuid if found else None}


def timed_count(project):
    began = time.perf_counter()
    found = count(project)
    return {"seconds": time.perf_counter() - began, "count": found}


def option(group, name, value):
    """Set an option from now on."""
    cfg.CONF.set_override(name, value, group)


def memory():
    """Return the largest memory that this process had, in MiB."""
    # Not ru_maxrss, in which a process begins with what its parent had.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


VERBS = {
    each.__name__: each
    for each in (
        read, listed, details, count, make_flavor, flavors, make, delete, hosts, make_host, group, make_group, limits,
        set_limit, make_migration, heads, timed_page, timed_count, option, memory,
    )
}  # fmt: skip


def main():
    # Nova prints warnings to stdout in places; the answers must stay alone there.
    answers, sys.stdout = sys.stdout, sys.stderr
    config.parse_args(["nova", *sys.argv[1:]])
    objects.register_all()
    for line in sys.stdin:
        words = json.loads(line)
        try:
            answer = {"answer": VERBS[words.pop("verb")](**words)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
