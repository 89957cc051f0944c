# SPDX-License-Identifier: Apache-2.0
"""Images warm in every cell: cinder makes the volumes and keeps the copies, we see that the cheapest source is there.

A **source** is what the volumes of an image are cloned from in a cell: ``glance`` (Glance's own copy lies in the cell's
Ceph), ``snapshot`` (one shared snapshot of ours), ``cache`` (cinder's image-volume); without one a volume is a
download. ``book`` keeps what we made, ``places`` knows what each cell can do, ``standing`` says from what the next boot
will come, ``warm`` makes a source, ``use`` is what a boot calls, ``overview`` is the map.
A source never says who may boot: each boot asks Glance for the image with its user's own token before it is accepted.
"""
