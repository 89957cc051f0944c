# SPDX-License-Identifier: Apache-2.0
"""What a package shows is what it lists."""

import importlib
import types

import pytest


@pytest.mark.parametrize("name", ["bfv", "cells", "imagebackends"])
def test_all_lists_what_is_visible(name):
    module = importlib.import_module(name)
    visible = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and (key in module.__all__ or not isinstance(value, types.ModuleType))
    }

    assert set(module.__all__) <= visible
    foreign = {key for key in visible - set(module.__all__) if getattr(vars(module)[key], "__module__", name) == name}
    assert foreign == set()
