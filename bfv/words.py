# SPDX-License-Identifier: Apache-2.0
"""Which words nova's tables can keep: checked before anything is written, whatever the database."""

from collections.abc import Iterable

from bfv.errors import BadRequest, OverQuota
from bfv.parts import Parts
from cells import limits

MAX_NAME = 255
# nova's columns are utf8mb3 (nova/db/main/models.py:MYSQL charset), which ends there.
LAST_LETTER = 0xFFFF


def check_name(name: str) -> None:
    """Raise BadRequest for what cannot be a server's name."""
    if not name or len(name) > MAX_NAME or not name.strip():
        raise BadRequest(f"A server's name has 1 to {MAX_NAME} characters and is not blank.")


def check(words: Iterable[str]) -> None:
    """Raise BadRequest for names, descriptions, tags, and items of metadata that nova's tables cannot keep."""
    for word in words:
        if any(ord(letter) > LAST_LETTER for letter in word):
            raise BadRequest(
                "Names, descriptions and metadata hold letters up to U+FFFF; nova's tables keep no others."
            )
        if len(word) > MAX_NAME:
            raise BadRequest(f"Descriptions, and keys and values of metadata, have at most {MAX_NAME} characters.")


def most_items(parts: Parts, project_id: str) -> int:
    """Return how many items of metadata a project's servers may have, -1 for any. Raises CellDown."""
    return limits.stored(parts.api, project_id).of_project(parts.quota.limits)["metadata_items"]


def check_number(most: int, number: int) -> None:
    """Raise OverQuota for more items of metadata than there may be.

    ``nova/compute/api.py:_check_metadata_properties_quota``.
    """
    if not limits.is_unlimited(most) and number > most:
        raise OverQuota(f"Maximum number of metadata items exceeds {most}")
