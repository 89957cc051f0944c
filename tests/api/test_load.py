# SPDX-License-Identifier: Apache-2.0
"""Many clients of one project at once: each is answered, and its quota stays exact; `make bench-api` has 200."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests import sites

CLIENTS = 12


def test_many_clients_of_one_project_create_list_show_and_delete_and_none_is_refused(door, image):
    limits = door("GET", "/limits").json()["limits"]["absolute"]
    body = {"quota_set": {"instances": limits["totalInstancesUsed"] + CLIENTS, "cores": -1, "ram": -1}}
    path = f"/os-quota-sets/{door.site.caller('demo').project_id}"
    assert door("PUT", path, body, user="admin").status_code == 200
    made = []

    def client(number):
        server = {"name": f"{sites.NAME}-{number}", "imageRef": image, "flavorRef": "tiny", "networks": "none"}
        answer = door("POST", "/servers", {"server": server}, version="2.96")
        yield answer.status_code
        if answer.status_code == 202:
            key = answer.json()["server"]["id"]
            made.append(key)
            yield door("GET", "/servers?limit=5").status_code
            yield door("GET", f"/servers/{key}").status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        # More than there is room for: so many are told, and no other word than nova's.
        codes = Counter(
            code for told in pool.map(lambda number: list(client(number)), range(CLIENTS + 2)) for code in told
        )
        assert codes == {202: CLIENTS, 200: 2 * CLIENTS, 403: 2}
        assert set(pool.map(lambda key: door("DELETE", f"/servers/{key}").status_code, made)) == {204}
        list(pool.map(door.gone, made))
    assert door("DELETE", path, user="admin").status_code == 202
