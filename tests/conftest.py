"""What every test may ask for."""

import os
from collections.abc import Iterator

import pytest

from tests.services import PostgresAt, shared_postgres

# The proxy and the server settings of a developer must not reach the servers that tests start.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost,::1"
for name in [name for name in os.environ if name.startswith("PALABRE_")]:
    del os.environ[name]


@pytest.fixture(scope="session")
def database_kind() -> str:
    """The database this run is about: sqlite or postgres."""
    return os.environ.get("TEST_DATABASE", "sqlite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresAt]:
    """The PostgreSQL of this run; a test that stops or kills one starts its own with Postgres()."""
    with shared_postgres() as server:
        yield server
