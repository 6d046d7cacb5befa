import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vae_anomaly.data.pixels import PixelSchema
from vae_anomaly.errors import DataError, ModelFileError


def frame(values):
    values = np.asarray(values)
    return pd.DataFrame(values, columns=[f"x{place}" for place in range(values.shape[1])])


def test_pixels_from_0_to_1_stay_as_they_are():
    images = frame([[0.2, 0.4], [0.3, 0.9]])
    assert_array_equal(PixelSchema.learn(images).encode(images), images)


@pytest.mark.parametrize("low, high", [(0, 255), (0, 16), (-1, 1), (-1e5, 3e7)])
def test_others_are_scaled_by_the_darkest_and_the_brightest_of_all(low, high):
    images = frame(np.linspace(low, high, 12).reshape(3, 4))
    schema = PixelSchema.learn(images)
    cells = schema.encode(images)
    assert_allclose(cells, np.linspace(0, 1, 12).reshape(3, 4), atol=1e-12)
    assert_allclose(schema.decode(cells), images, rtol=1e-12, atol=1e-9 * high)


def test_pixels_are_clipped_to_the_training_range_and_may_be_missing():
    schema = PixelSchema.learn(frame([[0, 10], [5, 20]]))
    cells = schema.encode(frame([[-3.0, 99.0], [np.nan, 10.0]]))
    assert_array_equal(cells, [[0, 1], [np.nan, 0.5]])
    assert_array_equal(schema.missing(cells), np.isnan(cells))
    assert_array_equal(schema.decode(np.array([[-0.5, 1.5]])), [[0, 20]])


def test_a_pixel_that_never_changes_is_kept():
    schema = PixelSchema.learn(frame([[0.0, 1.0, 0.5], [0.0, 1.0, 0.7]]))
    assert schema.names == ["x0", "x1", "x2"]
    assert schema.left_out == {}
    assert len(schema.cells) == 3
    same = PixelSchema.learn(frame([[7, 7], [7, 7]]))
    assert np.isfinite(same.encode(frame([[7, 9], [3, 7]]))).all()


def test_pixels_may_come_in_any_order_but_all_must_be_there():
    images = frame([[0.1, 0.2, 0.3], [0.4, 0.5, 1.0]])
    schema = PixelSchema.learn(images)
    assert_array_equal(schema.encode(images[["x2", "x0", "x1"]]), images)
    with pytest.raises(DataError, match="lacks: 'x1'"):
        schema.encode(images.drop(columns="x1"))


@pytest.mark.parametrize(
    "images, words",
    [
        (frame([[0.0, 1.0]])[:0], "0 images"),
        (frame([[np.nan, np.nan]]), "None of the pixels of 1 images has a value"),
        (pd.DataFrame({"x0": ["a"], "x1": [1.0]}), "'x0' does not hold numbers"),
        (frame([[0.0, 1.0], [0.5, np.inf]]), "'x1' is infinite in row 2"),
    ],
)
def test_what_is_no_image_is_refused(images, words):
    with pytest.raises(DataError, match=words):
        PixelSchema.learn(images)


def test_pixels_have_one_measure_whatever_they_show():
    images = frame([[0, 1, 2], [5, 6, 9]])
    schema = PixelSchema.learn(images)
    assert schema.has_one_measure(schema.encode(images))


def test_a_schema_comes_back_from_json():
    images = frame([[0, 100, 255], [3, 30, 200]])
    schema = PixelSchema.learn(images)
    again = PixelSchema.from_json(schema.to_json())
    assert_array_equal(again.encode(images), schema.encode(images))
    assert (again.names, again.n_rows) == (schema.names, schema.n_rows)


@pytest.mark.parametrize(
    "field, value",
    [
        ("names", []),
        ("names", ["a", "a"]),
        ("names", [1.5]),
        ("range", [0.0]),
        ("range", [1.0, 1.0]),
        ("range", [0.0, float("inf")]),
        ("range", "01"),
        ("n_rows", 0),
    ],
)
def test_an_invalid_description_is_refused(field, value):
    document = PixelSchema.learn(frame([[0.0, 1.0]])).to_json()
    with pytest.raises(ModelFileError):
        PixelSchema.from_json({**document, field: value})
    with pytest.raises(ModelFileError):
        PixelSchema.from_json({name: part for name, part in document.items() if name != field})
