# SPDX-License-Identifier: Apache-2.0
"""Who calls from a shell: the credentials that OpenStack's own clients read, ``OS_*`` and ``clouds.yaml``."""

import functools
from typing import Any

from keystoneauth1 import exceptions as ksa
from openstack import config as clouds
from openstack import exceptions as sdk

from bfv.errors import MaybeRunning, NotAllowed
from bfv.types import Caller, new_request_id


def from_environment(cloud: str | None = None) -> Caller:
    """Return the caller that ``OS_CLOUD`` and ``clouds.yaml``, or ``OS_*``, name.

    Raises NotAllowed that says what is missing, MaybeRunning while keystone is away.
    """
    auth, access = _sign_in(cloud)
    if not access.project_id:
        raise NotAllowed("The credentials have no project; set OS_PROJECT_NAME or project_name in clouds.yaml.")
    return Caller(
        auth=auth,
        project_id=access.project_id,
        user_id=access.user_id,
        roles=tuple(access.role_names),
        request_id=new_request_id(),
    )


@functools.lru_cache(maxsize=8)
def _sign_in(cloud: str | None) -> tuple[Any, Any]:
    """Fetch one token for this process; it lives in memory only."""
    try:
        region = clouds.OpenStackConfig().get_one(cloud=cloud)
        session = region.get_session()
        auth: Any = session.auth
        return auth, auth.get_access(session)
    except sdk.ConfigException as error:
        raise NotAllowed(
            f"No credentials: {error} Set OS_CLOUD, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME."
        ) from error
    except (ksa.Unauthorized, ksa.MissingRequiredOptions, ksa.NotFound) as error:
        raise NotAllowed(f"Keystone does not accept the credentials: {error}") from error
    except ksa.ClientException as error:
        raise MaybeRunning(f"Keystone does not answer: {error}") from error
