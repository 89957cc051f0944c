# SPDX-License-Identifier: Apache-2.0
"""Texts that a database puts together, on each kind of them."""

import functools
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement


def joined(*parts: Any) -> ColumnElement[Any]:
    """Return one text of several expressions, NULL if one of them is."""
    return functools.reduce(lambda left, right: left.concat(right), (sa.type_coerce(part, sa.String) for part in parts))


def constant(text: str) -> ColumnElement[str]:
    """Return a text as it stands in a statement: a bound parameter is escaped each time that the statement is run."""
    return sa.literal_column(f"'{text}'", sa.String)
