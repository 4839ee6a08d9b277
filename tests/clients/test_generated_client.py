"""Whoever generates a client from the OpenAPI document can use the whole API with it."""

from __future__ import annotations

import pytest

from flowkick.app import Process
from flowkick.core.settings import load_settings
from tests.clients.generated import Caller, Calls, Document, generate_client
from tests.clients.walk import WALK, Made
from tests.conftest import MASTER_KEY
from tests.support.endpoint import Endpoint
from tests.support.server import Api


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    url = f"sqlite:///{tmp_path_factory.mktemp('unused')}/flowkick.db"
    settings = load_settings(_env_file=None, database_url=url, secret_key=MASTER_KEY)
    return Process(settings).application().openapi()


@pytest.fixture(scope="module")
def calls(document: Document, tmp_path_factory: pytest.TempPathFactory) -> Calls:
    folder = tmp_path_factory.mktemp("client")
    assert generate_client(document, folder) == []
    return Calls(folder, document)


def test_the_names_of_shapes_are_for_people(document: Document) -> None:
    """Two shapes of one name would get the paths of their modules for names."""
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


async def test_a_generated_client_walks_the_whole_api(api: Api, calls: Calls) -> None:
    call = Caller(calls, api.url, api.key)
    async with Endpoint() as endpoint:
        made = Made(endpoint.url)
        for part in WALK:
            await part(call, made)
    missing = set(calls.operations) - call.called
    assert not missing, f"call these in tests/clients/walk.py: {sorted(missing)}"
