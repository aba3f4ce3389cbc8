"""Every test of the groups runs with the moments that were compiled, and with those that numpy takes."""

from collections.abc import Iterator

import pytest

from budget_cli.groups import moments

COMPILED = [] if moments.compiled is None else [moments.compiled]


@pytest.fixture(params=[*COMPILED, None], scope="module", autouse=True, ids=lambda one: "compiled" if one else "numpy")
def taken_by(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments, "compiled", request.param)
        yield
