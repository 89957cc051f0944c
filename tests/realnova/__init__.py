# SPDX-License-Identifier: Apache-2.0
"""Tests that need a real nova, which is not up by default."""


def leave_out_unless_asked(config, items):
    """Leave all of them out unless the marker is asked for by its name, whatever else `-m` asks for."""
    if "nova" in (config.option.markexpr or "").split():
        return
    here = [item for item in items if item.get_closest_marker("nova")]
    items[:] = [item for item in items if item not in here]
    config.hook.pytest_deselected(items=here)
