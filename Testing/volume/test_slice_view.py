"""Slices lie the same way however the volume is stored, and masks go back to the same places."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from stacks import IDENTITY, STORED, marked_places, noise_volume, places, stored_anew

from Sim4SegCore import Sim4SegError
from Sim4SegCore.volume.slice_view import PLANES, view_slices

OBLIQUE_11 = tuple(Rotation.from_euler("x", 11, degrees=True).as_matrix().ravel())


def view_of(case, axis="auto"):
    return view_slices(case.geometry, case.shape, axis)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("direction", [IDENTITY, OBLIQUE_11])
@pytest.mark.parametrize(("order", "is_reversed"), STORED)
def test_every_way_of_storing_a_volume_shows_the_same_slices(plane, direction, order, is_reversed):
    case = noise_volume((5, 6, 7), direction=direction)
    anew = stored_anew(case, order, is_reversed)
    assert np.array_equal(
        view_of(case, plane).of(case.voxels), view_of(anew, plane).of(anew.voxels)
    )
    assert view_of(anew, plane).spacing == pytest.approx(view_of(case, plane).spacing)


@given(
    angles=st.tuples(*[st.floats(-40, 40)] * 3),
    is_left_handed=st.booleans(),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    shape=st.tuples(*[st.integers(2, 6)] * 3),
    stored=st.sampled_from(STORED),
    plane=st.sampled_from(PLANES),
    data=st.data(),
)
def test_marks_of_one_slice_lie_at_one_place_in_any_storage(
    angles, is_left_handed, spacing, shape, stored, plane, data
):
    cosines = Rotation.from_rotvec(np.array(angles) / 3**0.5, degrees=True).as_matrix()
    cosines = cosines * [1, 1, -1] if is_left_handed else cosines
    case = noise_volume(shape, spacing, tuple(cosines.ravel()))
    anew = stored_anew(case, *stored)
    marked = []
    mark = tuple(
        data.draw(st.integers(0, side - 1)) for side in view_of(case, plane).of(case.voxels).shape
    )
    for one in (case, anew):
        mask = np.zeros(one.shape, bool)
        view_of(one, plane).of(mask)[mark] = True
        marked.append(marked_places(mask, one.geometry))
    assert np.allclose(*marked, atol=0.01)


def test_radiological_axial_slices_have_the_right_side_left_and_the_front_on_top():
    case = noise_volume()
    view = view_of(stored_anew(case, (0, 1, 2), (False, True, True)), "axial")
    shown = view.of(np.arange(6 * 40 * 50).reshape(6, 40, 50))
    assert shown[0, 0, 0] == np.ravel_multi_index((0, 39, 49), (6, 40, 50))
    assert view.plane == "axial" and view.index_axis == "k"


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [
        ((1.0, 1.0, 1.0), "axial"),
        ((1.0, 1.0, 10.0), "axial"),
        ((1.0, 10.0, 1.0), "coronal"),
        ((10.0, 1.0, 1.0), "sagittal"),
        ((0.9999, 1.0, 0.9995), "axial"),
    ],
)
def test_the_coarsest_spacing_is_the_acquisition_axis(spacing, plane):
    assert view_of(noise_volume(spacing=spacing)).plane == plane


def test_slices_are_counted_along_the_volumes_own_axis():
    case = noise_volume()
    turned = stored_anew(case, (0, 1, 2), (True, False, False))
    view = view_of(turned)
    assert [view.index(n) for n in range(view.count)] == [5, 4, 3, 2, 1, 0]
    shown = view.of(turned.voxels)
    assert all(np.array_equal(shown[n], turned.voxels[view.index(n)]) for n in range(view.count))


def test_an_unknown_axis_is_refused():
    case = noise_volume()
    with pytest.raises(Sim4SegError, match="unknown axis 'z'"):
        view_of(case, "z")


def test_a_label_with_opposite_rows_lies_on_its_image(shared_data):
    from Sim4SegCore.io import read_volume_case

    volumes = shared_data / "volumes" / "ct"
    image = read_volume_case(volumes / "dicom_series")
    label = read_volume_case(volumes / "dicom_series_totalsegmentator.nii.gz")
    assert label.geometry.direction != image.geometry.direction
    shown, named = view_of(image).of(image.voxels), view_of(label).of(label.voxels)
    hip, liver = shown[np.isin(named, (69, 70))], shown[named == 5]
    assert hip.mean() > 400 > 150 > liver.mean() > 50  # HU
    last = np.array([[511.0, 511.0, 19.0]])
    corners = [places(c.geometry, last * [1, row, 1]) for c, row in ((image, 0), (label, 1))]
    assert np.allclose(*corners, atol=0.01)
