# SPDX-License-Identifier: Apache-2.0
"""Key pairs of users, on tables that we made and on tables that nova makes."""

import threading

import pytest

from cells import Exists, NotMapped, keypairs


def add(api, name="k", user="u", most=100):
    def check(count):
        if count >= most:
            raise ValueError(count)

    return keypairs.create(api, user, name, "ssh", "ab:cd", "ssh-rsa AAAA", check)


def test_a_key_pair_is_read_as_it_was_written_and_is_its_users_own(api):
    made = add(api)
    other = add(api, user="other")
    assert keypairs.find(api, "u", "k") == made
    assert keypairs.list_of(api, "other") == [other]
    assert keypairs.find(api, "u", "K") is None
    with pytest.raises(Exists, match="Key pair 'k' already exists"):
        add(api)
    keypairs.delete(api, "u", "k")
    with pytest.raises(NotMapped, match="Keypair k not found for user u"):
        keypairs.delete(api, "u", "k")
    assert keypairs.list_of(api, "other") == [other]


def test_of_many_that_race_for_the_last_places_none_gets_more(api):
    def race(number):
        try:
            add(api, f"k{number}", most=3)
        except ValueError as error:
            refused.append(error)

    refused: list[ValueError] = []
    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(keypairs.list_of(api, "u")), len(refused)) == (3, 5)
