# SPDX-License-Identifier: Apache-2.0
"""From nova's rbd image backend to root volumes, in place, with undo."""
