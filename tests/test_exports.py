# SPDX-License-Identifier: Apache-2.0
"""What a package shows is what it lists: who finds a name by looking may rely on it, so nothing is there by chance."""

import importlib
import subprocess
import sys
import types

import pytest

PACKAGES = ("bfv", "cells", "imagebackends")
UNLISTED = {"imagebackends": {"BadRequest", "make_session"}}  # Seen, not promised yet: to be listed or hidden.


def visible(module):
    """Return the public names of ours that are no modules: not what a module imported from elsewhere."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and _is_ours(module, value)
    }


def _is_ours(module, value):
    return getattr(value, "__module__", module.__name__).partition(".")[0] in PACKAGES


def listed(module):
    """Return the names of ``__all__`` that are no modules; submodules may be listed, but need not."""
    return {name for name in module.__all__ if not isinstance(getattr(module, name), types.ModuleType)}


@pytest.mark.parametrize("name", PACKAGES)
def test_all_lists_what_is_visible(name):
    module = importlib.import_module(name)
    assert visible(module) - listed(module) <= UNLISTED.get(name, set())
    assert listed(module) - visible(module) == set()
    assert len(module.__all__) == len(set(module.__all__))


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_listed_is_there_without_another_import(name):
    code = f"import {name}; print([each for each in {name}.__all__ if not hasattr({name}, each)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_guard_sees_a_name_that_is_not_listed():
    module = types.ModuleType("cells")
    module.Missing = type("Missing", (), {"__module__": "cells.types"})
    module.LIMIT, module.types, module.Foreign, module._own = 1, types, pytest.Item, 2
    assert visible(module) == {"Missing", "LIMIT"}
    module.__all__ = ["LIMIT", "types"]
    assert listed(module) == {"LIMIT"}
