# SPDX-License-Identifier: Apache-2.0
"""What is remembered of deletes that are done."""

from cells.listing.graves import Graves


def test_what_was_seen_deleted_is_left_out():
    graves = Graves()
    asked = frozenset({1, 2, 3})
    assert graves.without(asked) == asked
    graves.add([1, 2])
    assert graves.without(asked) == graves.without(asked) == {3}


def test_what_has_no_row_is_left_out_for_a_while():
    graves = Graves(patience=60)
    graves.add([], missing=[1])
    assert graves.without(frozenset({1, 2})) == {2}
    hasty = Graves(patience=0)
    hasty.add([2], missing=[1])
    assert hasty.without(frozenset({1, 2})) == hasty.without(frozenset({1, 2})) == {1}


def test_it_starts_anew_once_it_knows_too_many():
    graves = Graves(most=2)
    graves.add([1, 2])
    assert graves.without(frozenset({1, 2})) == set()
    graves.add([3])
    assert graves.without(frozenset({1, 2, 3})) == {1, 2, 3}
