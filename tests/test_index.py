"""The index in memory and in folders: one contract for all, and what disks and processes do."""

import pytest

pytest.register_assert_rewrite("index_contract")

from index_contract import *  # noqa: E402, F403
from index_contract import DIM, ENCODER, KINDS, fill  # noqa: E402

from geoclip_lite.index import open_index  # noqa: E402

PLACES = {"memory": "memory:", "exact": "exact:{}", "lance": "{}"}
each_store = pytest.fixture(params=PLACES, scope="module")


@each_store
def store(request):
    return request.param


@pytest.fixture
def begin(store, tmp_path):
    """Opens a new index of the store."""

    def begin(dim=DIM, fields=KINDS):
        return open_index(PLACES[store].format(tmp_path / "index"), dim=dim, encoder=ENCODER, fields=fields)

    return begin


@pytest.fixture(scope="module")
def kept(store, tmp_path_factory):
    where = PLACES[store].format(tmp_path_factory.mktemp("kept") / "index")
    return fill(open_index(where, dim=DIM, encoder=ENCODER, fields=KINDS))
