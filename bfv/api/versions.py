# SPDX-License-Identifier: Apache-2.0
"""Which microversion a request is answered in, and the documents that tell which there are.

Majors are always 2, so a microversion is its minor number: 96 is 2.96. ``MAX`` is the newest whose meaning each
served call honours. 2.97 (shares) and 2.99 (consoles) are about resources that are not served. 2.102 takes fields out
of all flavors, brings a filter for them, and refuses unknown words in the query of every call: the calls here do not
yet. A microversion has all that is below it, so 2.103 (``os-volumes_boot`` goes, which is not here) and 2.104 (a server
is pinned to its zone and unpinned) wait for that.
"""

import re
from collections.abc import Mapping
from typing import Any

from bfv.api.faults import Fault

MIN, MAX = 1, 101
HEADER, LEGACY = "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
_FORM = re.compile(r"([1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
_UPDATED = "2013-07-23T11:33:21Z"
_MEDIA = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]


def negotiate(headers: Mapping[str, str]) -> int:
    """Return the microversion that a request's headers ask for, by upper-case names; without any it is 2.1.

    ``nova/api/openstack/wsgi.py:Request.set_api_version_request``. Raises Fault 400 for what is no version, 406 for one
    that is not served.
    """
    asked = _asked(headers)
    if asked is None:
        return MIN
    if asked == "latest":
        return MAX
    parts = _FORM.fullmatch(asked)
    if parts is None:
        raise Fault(400, f"API Version String {asked[:40]} is of invalid format. Must be of format MajorNum.MinorNum.")
    major, minor = int(parts[1]), int(parts[2])
    if major != 2 or not MIN <= minor <= MAX:
        raise Fault(
            406,
            f"Version {asked} is not supported by the API. Minimum is 2.{MIN} and maximum is 2.{MAX}.",
            headers=told(asked),
        )
    return minor


def told(version: int | str) -> dict[str, str]:
    """Return the headers that tell in which microversion a request is answered."""
    text = f"2.{version}" if isinstance(version, int) else version
    return {HEADER: f"compute {text}", LEGACY: text, "Vary": f"{HEADER}, {LEGACY}"}


def _asked(headers: Mapping[str, str]) -> str | None:
    """Return the version asked for: of this service in the header that all services share, else in nova's own."""
    for part in headers.get(HEADER.upper(), "").split(","):
        service, _, version = part.strip().partition(" ")
        if service.lower() == "compute" and version.strip():
            return version.strip().lower()
    return headers.get(LEGACY.upper(), "").strip().lower() or None


def _entry(base: str) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": f"2.{MAX}",
        "min_version": f"2.{MIN}",
        "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{base}/v2.1/"}],
    }


def all_versions(base: str) -> dict[str, Any]:
    """Return the document at ``/``."""
    return {"versions": [_entry(base)]}


def one_version(base: str) -> dict[str, Any]:
    """Return the document at ``/v2.1/``."""
    entry = _entry(base)
    entry["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
    return {"version": {**entry, "media-types": _MEDIA}}


def choices(base: str, path: str) -> dict[str, Any]:
    """Return the document for a path of no version."""
    links = [{"rel": "self", "href": f"{base}/v2.1{path}"}]
    return {"choices": [{"id": "v2.1", "status": "CURRENT", "links": links, "media-types": _MEDIA}]}
