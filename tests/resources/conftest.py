"""What most tests of the lake begin with."""

import pytest

from resources.connections import Connections
from resources.lake import Lake
from tests.planting import Garden


@pytest.fixture
def lake(connections: Connections) -> Lake:
    return Lake(connections)


@pytest.fixture
def garden(connections: Connections) -> Garden:
    return Garden(connections)
