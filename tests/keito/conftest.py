from collections.abc import AsyncIterator

import pytest

from keito_mcp.keito import Client, Connections, KeitoV2
from tests.keito.v2_kit import KEY, SmallKeito
from tests.kit import QUICK


@pytest.fixture
def small() -> SmallKeito:
    return SmallKeito()


@pytest.fixture
async def v2(small: SmallKeito) -> AsyncIterator[KeitoV2]:
    client = Client("http://small.keito", KEY, Connections(timeouts=QUICK, app=small.app))
    yield KeitoV2(client, "cmp_1")
    await client.aclose()
