# SPDX-License-Identifier: Apache-2.0
"""The same boots through the image backends cinder and rbd, side by side, on the operator's own cells.

A boot here is what differs between the two: a root disk is asked for, becomes ready, is reserved for a server and
connected to a host. What bfv does around that, quota, choice of a cell, rows, is the same for both and left out, so
that it also runs beside a nova whose databases may only be read. All that it makes is in the journal.
"""

from bfv.compare.run import Plan, compare
from bfv.compare.values import Boot, Comparison, Cost, Series

__all__ = ["Boot", "Comparison", "Cost", "Plan", "Series", "compare"]
