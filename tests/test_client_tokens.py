"""The module with tokens that end."""

import pytest

from tests.conftest import SECRET
from tests.people import Town
from tests.programs import ran

pytestmark = pytest.mark.one_database


@pytest.mark.settings(auth={"leeway_s": 0}, limits={"token_warning_s": 60, "token_grace_s": 0})
@pytest.mark.usefixtures("ada", "bob")
async def test_tokens_are_renewed_before_they_end_and_when_they_are_refused(town: Town) -> None:
    assert await ran("client_tokens.mjs", town.url, SECRET) == {"scenes": 8}
