# SPDX-License-Identifier: Apache-2.0
"""Key pairs of users: how many they may have, and the key that a server gets by its name."""

import dataclasses

from bfv.errors import BadRequest, OverQuota
from bfv.parts import Parts
from bfv.types import BootRequest, Caller
from cells import keypairs, limits
from cells.keypairs import KeyPair

# A server's key stands in the journal, whose texts end at 64 KiB on MySQL; one of 16384 bits has 3.
LONGEST = 16 << 10


def add(parts: Parts, caller: Caller, user_id: str, name: str, kind: str, fingerprint: str, public_key: str
        ) -> KeyPair:  # fmt: skip
    """Write a user's public key, or with x509 a certificate. Raises BadRequest, OverQuota, Exists, CellDown.

    A user has one number of these in all projects; what bounds it is the caller's quota in the caller's project
    (``nova/compute/api.py:KeypairAPI._check_key_pair_quotas``).
    """
    if len(public_key) > LONGEST:
        raise BadRequest(f"Keypair data is invalid: a public key has at most {LONGEST} characters")
    most = limits.stored(parts.api, caller.project_id).of_user(caller.user_id, parts.quota.limits)["key_pairs"]

    def check(count: int) -> None:
        if not limits.is_unlimited(most) and count + 1 > most:
            raise OverQuota("Quota exceeded, too many key pairs.")

    return keypairs.create(parts.api, user_id, name, kind, fingerprint, public_key, check)


def with_key(parts: Parts, caller: Caller, request: BootRequest) -> BootRequest:
    """Return a request with the key that it names, one of the caller's own. Raises BadRequest if there is none.

    ``nova/compute/api.py:_validate_and_build_base_options``. The key goes with the server: changed or removed later on,
    it stays what it was for this one.
    """
    if request.key_name is None:
        return request
    pair = keypairs.find(parts.api, caller.user_id, request.key_name)
    if pair is None:
        raise BadRequest("Invalid key_name provided.")
    return dataclasses.replace(request, key_data=pair.public_key)
