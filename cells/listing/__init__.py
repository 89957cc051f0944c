# SPDX-License-Identifier: Apache-2.0
"""Lists of servers over many cells, right also while some of them are down."""

from cells.listing.minimal import minimal, unplaced
from cells.listing.page import Listing, list_servers
from cells.listing.query import MAX_LIMIT, SORT_KEYS, BadQuery, Query
from cells.listing.values import Brief, Detail, Entry, Minimal, Page, Unplaced

__all__ = [
    "MAX_LIMIT",
    "SORT_KEYS",
    "BadQuery",
    "Brief",
    "Detail",
    "Entry",
    "Listing",
    "Minimal",
    "Page",
    "Query",
    "Unplaced",
    "list_servers",
    "minimal",
    "unplaced",
]
