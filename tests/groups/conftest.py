"""Run every test of the groups with the compiled moments and ids, and with their plain counterparts."""

from collections.abc import Iterator

import pytest

from budget_cli import native


@pytest.fixture(
    params=[True, False] if native.AVAILABLE else [False],
    scope="module",
    autouse=True,
    ids=lambda compiled: "compiled" if compiled else "plain",
)
def extensions(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "AVAILABLE", request.param)
        yield
