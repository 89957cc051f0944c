#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# os-brick hard-codes /etc/ceph/<cluster>.client.<user>.keyring: here, in a mount namespace of its own,
# /etc/ceph is the lab's. The one argument is the cell.
set -e
mount --bind {{lab}}/etc/ceph /etc/ceph
exec {{lab}}/venv/bin/cinder-volume --config-file {{lab}}/etc/cinder/cinder.conf \
    --config-file {{lab}}/etc/cinder/internal.conf --config-file "{{lab}}/etc/cinder/$1.conf"
