import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, maximum_filter

from app.datasets.near_duplicates.filters import AROUND, blur, highest_around

VALUES = np.random.default_rng(0).uniform(0, 255, (61, 40)).astype(np.float32)


@pytest.mark.parametrize("deviation", [0.5, 1.0, 1.25])
def test_a_blur_is_that_of_scipy(deviation: float) -> None:
    blurred = blur(VALUES, deviation)

    assert blurred.dtype == np.float32
    np.testing.assert_allclose(blurred, gaussian_filter(VALUES, deviation, truncate=3), rtol=1e-5)


def test_the_highest_around_is_that_of_scipy() -> None:
    inside = slice(AROUND, -AROUND)

    assert (highest_around(VALUES) == maximum_filter(VALUES, 2 * AROUND + 1)[inside, inside]).all()
