# SPDX-License-Identifier: Apache-2.0
"""Root disks as nova's rbd image backend makes them; deprecated, see ``docs/why-volumes.md``."""
