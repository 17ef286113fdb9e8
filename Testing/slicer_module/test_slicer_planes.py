"""Slices along a volume's axes: cut out as a reader sees them, put back where they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from Sim4SegLib.planes import AXIAL, CORONAL, SAGITTAL, Plane, geometry_of, plane_through

from Sim4SegCore.errors import Sim4SegError

PLANES = st.builds(
    Plane,
    st.integers(0, 2),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
SHAPE = (3, 4, 5)
VOLUME = np.arange(60).reshape(SHAPE)


@given(PLANES)
def test_a_slice_goes_back_to_where_it_was(plane):
    back = np.full(SHAPE, -1)
    plane.put(plane.take(VOLUME), back)
    changed = back >= 0
    assert changed.sum() == VOLUME.size // SHAPE[plane.axis]
    assert np.array_equal(back[changed], VOLUME[changed])


@given(PLANES, st.integers(0, 10**6))
def test_a_pixel_lies_where_its_voxel_lies(plane, seed):
    random = np.random.default_rng(seed)
    to_ras = np.eye(4)
    to_ras[:3] = random.normal(size=(3, 4))
    image = plane.take(VOLUME)
    row, column = random.integers(image.shape[0]), random.integers(image.shape[1])
    k, j, i = np.argwhere(image[row, column] == VOLUME)[0]
    matrix = plane.ijk_to_ras(to_ras, SHAPE)
    assert np.allclose(matrix @ [column, row, 0, 1], to_ras @ [i, j, k, 1])


@given(
    st.sampled_from([AXIAL, CORONAL, SAGITTAL]),
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
)
def test_the_picture_stands_as_in_the_view_however_the_volume_is_stored(view, order, signs):
    directions = np.eye(3)[:, order] * signs
    to_ras = np.eye(4)
    to_ras[:3, :3] = directions * (1.0, 2.0, 3.0)
    plane = plane_through(to_ras, SHAPE, view=view)
    placed = plane.ijk_to_ras(to_ras, SHAPE)
    assert placed[:3, 0] @ view.right > 0
    assert placed[:3, 1] @ view.up < 0
    assert abs(placed[:3, 2] @ np.cross(view.right, view.up)) > 0


def test_the_slice_nearest_to_the_view_is_taken():
    to_ras = np.diag([-1.0, -1.0, 4.0, 1.0])
    assert plane_through(to_ras, SHAPE, (0.0, 0.0, 5.9), AXIAL).index == 1
    assert plane_through(to_ras, SHAPE, (0.0, 0.0, 6.1), AXIAL).index == 2
    assert plane_through(to_ras, SHAPE, (-3.2, 0.0, 0.0), SAGITTAL) == Plane(2, 3, False, True)


def test_a_view_beside_the_volume_is_refused_in_one_sentence():
    with pytest.raises(Sim4SegError, match="does not cut through"):
        plane_through(np.eye(4), SHAPE, (0.0, 0.0, 40.0), AXIAL)


def test_a_picture_is_taken_whole_whatever_the_view_looks_at():
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    plane = plane_through(to_ras, (1, 40, 50), (900.0, 900.0, 900.0), CORONAL)
    assert (plane.axis, plane.index) == (0, 0)
    assert plane_through(to_ras, (1, 40, 50)) == Plane(0, 0)


@given(st.integers(0, 10**6))
def test_the_geometry_is_the_same_place_in_itks_conventions(seed):
    random = np.random.default_rng(seed)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    to_ras = np.eye(4)
    to_ras[:3, :3] = rotation * random.uniform(0.1, 9.0, 3)
    to_ras[:3, 3] = random.normal(size=3) * 100
    geometry = geometry_of(to_ras)
    index = random.integers(0, 100, 3)
    lps = np.array(geometry.origin) + np.array(geometry.direction).reshape(3, 3) @ (
        index * geometry.spacing
    )
    assert np.allclose(lps * (-1, -1, 1), (to_ras @ [*index, 1])[:3])


@pytest.mark.parametrize("column", [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [np.nan, 0.0, 0.0]])
def test_axes_that_span_nothing_are_refused(column):
    to_ras = np.eye(4)
    to_ras[:3, 1] = column
    with pytest.raises(Sim4SegError, match="axes"):
        geometry_of(to_ras)
