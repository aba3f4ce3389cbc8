"""If this fails, the page shows other digits than the exact ones where a sum nearly cancels."""

import pytest
from page_numbers import NODE
from worst_errors import KINDS, worst_of


@pytest.mark.exhaustive
@pytest.mark.skipif(NODE is None, reason="there is no Node.js to run page.js")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "thousands"])
def test_every_number_that_the_page_computes_has_twelve_digits(kind: str) -> None:
    for name, (error, seed) in worst_of(kind, range(2), ["page"]).items():
        assert error <= 1e-12, f"{name} of seed {seed}: {error:.1e}"
