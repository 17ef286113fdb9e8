"""Reading every supported kind of file, refusing every kind of bad one, and mask geometry."""

from __future__ import annotations

import math
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from Sim4SegCore.case import Case, Geometry
from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_case, write_mask

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SIM4SEG_DATA", REPOSITORY.parent / "shared"))
needs_volumes = pytest.mark.skipif(
    not (SHARED / "volumes").is_dir(),
    reason=f"no real volumes in {SHARED / 'volumes'}; set SIM4SEG_DATA to the shared folder",
)

GRADIENT = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) * 5
NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
OBLIQUE = tuple(Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix().ravel())


def pydicom_file(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None, f"{name} no longer ships with pydicom"
    return Path(path)


def write_volume(path: Path, array: np.ndarray, **geometry: tuple[float, ...]) -> None:
    is_vector = array.ndim > 2 and array.shape[-1] in (2, 3, 4) and array.ndim != 5
    image = SimpleITK.GetImageFromArray(array, isVector=is_vector)
    for name, value in geometry.items():
        getattr(image, f"Set{name.capitalize()}")(value)
    SimpleITK.WriteImage(image, str(path))


def refusal(path: Path | str, slice_index: int | None = None) -> str:
    """The message of the expected error, checked to be one short line that names the file."""
    with pytest.raises(Sim4SegError) as caught:
        read_case(path, slice_index)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert Path(path).name.isprintable() is (Path(path).name in message)
    return message


# ------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_grey_picture_keeps_its_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Lungenröntgen 肺{suffix}"
    Image.fromarray(GRADIENT).save(path)
    case = read_case(path)
    assert np.array_equal(case.image, GRADIENT)
    assert case.image.dtype == np.uint8
    assert case.geometry is None and case.mask_suffix == ".png" and case.source == path


def test_jpeg_keeps_colour_and_orientation(tmp_path: Path) -> None:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :32, 0] = 220
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    image = read_case(str(tmp_path / "a.jpg")).image
    assert image.shape == (32, 64, 3)
    assert image[:, :24, 0].min() > 180 and image[:, 40:].max() < 40


def test_16_bit_png_keeps_its_depth(tmp_path: Path) -> None:
    deep = GRADIENT.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(read_case(tmp_path / "a.png").image, deep)


def test_big_endian_tiff_arrives_in_native_order(tmp_path: Path) -> None:
    values = [1, 256, 515, 65535]
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 8)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, n)
        + (struct.pack(">HH", v, 0) if kind == 3 else struct.pack(">I", v))
        for tag, kind, n, v in tags
    )
    data = b"MM\0*" + struct.pack(">I", 16) + struct.pack(">4H", *values)
    (tmp_path / "a.tif").write_bytes(data + struct.pack(">H", len(tags)) + entries + bytes(4))
    image = read_case(tmp_path / "a.tif").image
    assert image.tolist() == [values[:2], values[2:]]
    assert image.dtype.isnative


def test_palette_alpha_bilevel_and_cmyk_become_rgb_or_grey(tmp_path: Path) -> None:
    rgb = Image.fromarray(NOISE[:8, :8])
    rgb.quantize(64).save(tmp_path / "palette.png")
    expected = np.array(Image.open(tmp_path / "palette.png").convert("RGB"))
    assert np.array_equal(read_case(tmp_path / "palette.png").image, expected)

    with_alpha = np.dstack([NOISE[:8, :8], np.full((8, 8), 9, np.uint8)])
    Image.fromarray(with_alpha).save(tmp_path / "alpha.png")
    assert np.array_equal(read_case(tmp_path / "alpha.png").image, NOISE[:8, :8])

    bilevel = GRADIENT > 100
    Image.fromarray(bilevel).save(tmp_path / "bilevel.png")
    assert np.array_equal(read_case(tmp_path / "bilevel.png").image, bilevel * np.uint8(255))

    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_case(tmp_path / "cmyk.tif").image.astype(int) - NOISE[:8, :8]).max() <= 2


def test_photo_is_turned_upright_by_its_exif_tag(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(GRADIENT).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_case(tmp_path / "a.png").image, np.rot90(GRADIENT, -1))


def test_phone_photo_with_embedded_thumbnail_is_one_image(tmp_path: Path) -> None:
    photo, thumbnail = Image.fromarray(NOISE), Image.fromarray(NOISE[::4, ::4])
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[thumbnail])
    assert read_case(tmp_path / "a.jpg").size == (60, 80)


def test_pages_of_a_tiff_are_slices(tmp_path: Path) -> None:
    pages = [Image.fromarray(GRADIENT + n) for n in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert "holds 3 slices" in refusal(tmp_path / "a.tif")
    assert "--slice K (0 to 2)" in refusal(tmp_path / "a.tif")
    assert np.array_equal(read_case(tmp_path / "a.tif", 2).image, GRADIENT + 2)
    assert "no slice 3" in refusal(tmp_path / "a.tif", 3)


def test_slice_of_a_single_picture(tmp_path: Path) -> None:
    Image.fromarray(GRADIENT).save(tmp_path / "a.png")
    assert np.array_equal(read_case(tmp_path / "a.png", 0).image, GRADIENT)
    assert "leave --slice out" in refusal(tmp_path / "a.png", 1)
    assert "no slice -1" in refusal(tmp_path / "a.png", -1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.98])
def test_truncated_picture_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = tmp_path / f"a.{suffix}"
    Image.fromarray(NOISE).save(whole)
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    assert "truncated" in refusal(cut)


@pytest.mark.parametrize("missing", [5, 12, 16])
def test_png_that_lost_only_its_end_is_refused(tmp_path: Path, missing: int) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:-missing])
    assert "truncated" in refusal(tmp_path / "cut.png")


def test_text_with_an_image_name_is_refused(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "a.jpg",
        "a.tif",
        "a.bmp",
        "a.nii",
        "a.nii.gz",
        "a.nrrd",
        "a.mha",
        "a.dcm",
    ):
        (tmp_path / name).write_text("Dear colleague, please find attached the image.\n" * 20)
        assert "is not a" in refusal(tmp_path / name)


def test_decompression_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    for side in (10_000, 60_000):
        header = b"\x89PNG\r\n\x1a\n"
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)),
            (b"IDAT", b""),
            (b"IEND", b""),
        ):
            header += struct.pack(">I", len(body)) + kind + body
            header += struct.pack(">I", zlib.crc32(kind + body))
        (tmp_path / "bomb.png").write_bytes(header)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "pixels" in refusal(tmp_path / "bomb.png")


def test_nan_and_one_pixel_pictures_are_refused(tmp_path: Path) -> None:
    pixels = np.ones((4, 4), np.float32)
    pixels[1, 2] = np.nan
    Image.fromarray(pixels).save(tmp_path / "nan.tif")
    assert "NaN" in refusal(tmp_path / "nan.tif")
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / "dot.png")
    assert "1x1 pixels" in refusal(tmp_path / "dot.png")


# ------------------------------------------------------------------------------- any file


def test_missing_empty_and_unsupported_files(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    (tmp_path / "movie.mp4").write_bytes(b"x" * 500)
    assert "unsupported file type" in refusal(tmp_path / "movie.mp4")
    assert "is a file, not a folder" in refusal(tmp_path / "movie.mp4" / "a.png")
    assert "too long" in refusal(tmp_path / ("x" * 300 + ".png"))
    assert "not a valid file name" in refusal(f"{tmp_path}/a\0b.png")


def test_special_files_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")


def test_line_break_in_a_file_name_stays_on_one_line(tmp_path: Path) -> None:
    assert '"a?b.png"' in refusal(tmp_path / "a\nb.png")


def test_file_without_permission_is_refused() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "secret.png"
        Image.fromarray(GRADIENT).save(path)
        path.chmod(0)
        user = os.geteuid()
        try:
            if user == 0:
                os.seteuid(65534)  # root may read everything
            assert "no permission to read" in refusal(path)
        finally:
            os.seteuid(user)


# ------------------------------------------------------------------------------- ITK's formats


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.nii", ".nii.gz"),
        ("a.nii.gz", ".nii.gz"),
        ("a.nrrd", ".nrrd"),
        ("a.nhdr", ".nrrd"),
        ("a.mha", ".nrrd"),
        ("a.mhd", ".nrrd"),
    ],
)
def test_slice_of_a_volume_keeps_pixels_and_place(tmp_path: Path, name: str, suffix: str) -> None:
    array = np.arange(4 * 6 * 8, dtype=np.int16).reshape(4, 6, 8) - 50
    path = tmp_path / name
    write_volume(
        path, array, spacing=(0.7, 0.9, 2.5), origin=(-12.5, 30.25, 100.0), direction=OBLIQUE
    )
    assert "holds 4 slices" in refusal(path) and "--slice K (0 to 3)" in refusal(path)
    assert "0 to 3" in refusal(path, 4)
    case = read_case(path, 3)
    assert np.array_equal(case.image, array[3])
    assert case.mask_suffix == suffix
    assert case.geometry is not None
    expected = SimpleITK.ReadImage(str(path)).TransformIndexToPhysicalPoint((0, 0, 3))
    assert np.allclose(case.geometry.origin, expected, atol=1e-5)
    assert np.allclose(case.geometry.direction, OBLIQUE, atol=1e-5)
    assert np.allclose(case.geometry.spacing, (0.7, 0.9, 2.5))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_2d_file_gets_a_place_in_3d(tmp_path: Path, name: str) -> None:
    turn = (0.0, -1.0, 1.0, 0.0)
    write_volume(tmp_path / name, GRADIENT, spacing=(0.5, 0.25), origin=(3.0, 4.0), direction=turn)
    case = read_case(tmp_path / name)
    assert np.array_equal(case.image, GRADIENT)
    assert case.geometry is not None
    assert np.allclose(case.geometry.spacing, (0.5, 0.25, 1.0))
    assert np.allclose(case.geometry.origin, (3.0, 4.0, 0.0))
    assert np.allclose(case.geometry.direction, (0, -1, 0, 1, 0, 0, 0, 0, 1))


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_rgb_image(tmp_path: Path, name: str) -> None:
    write_volume(tmp_path / name, NOISE)
    assert np.array_equal(read_case(tmp_path / name).image, NOISE)


def test_alpha_of_an_itk_image_is_dropped(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nrrd", np.dstack([NOISE, NOISE[..., :1]]))
    assert np.array_equal(read_case(tmp_path / "a.nrrd").image, NOISE)


def test_vectors_that_are_no_colours_are_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "field.nrrd", np.zeros((8, 8, 3), np.float32))
    write_volume(tmp_path / "two.nrrd", np.zeros((8, 8, 2), np.uint8))
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(np.zeros((1, 8, 8), np.complex64)), str(tmp_path / "c.nii")
    )
    for name in ("field.nrrd", "two.nrrd", "c.nii"):
        assert "values per pixel" in refusal(tmp_path / name)


def test_time_series_is_refused_even_with_a_slice(tmp_path: Path) -> None:
    series = SimpleITK.JoinSeries([SimpleITK.Image([8, 8, 3], SimpleITK.sitkInt16)] * 2)
    for name in ("a.nii.gz", "a.nrrd", "a.mha"):
        SimpleITK.WriteImage(series, str(tmp_path / name))
        assert "time series are not supported" in refusal(tmp_path / name, 1)


def test_fourth_dimension_of_one_is_no_time_series(tmp_path: Path) -> None:
    volume = SimpleITK.GetImageFromArray(GRADIENT[np.newaxis])
    SimpleITK.WriteImage(SimpleITK.JoinSeries([volume]), str(tmp_path / "a.nrrd"))
    assert np.array_equal(read_case(tmp_path / "a.nrrd").image, GRADIENT)


def test_slice_along_another_axis_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nrrd", np.zeros((6, 8, 1), np.int16))
    assert "third axis" in refusal(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_in_the_chosen_slice_is_refused(
    tmp_path: Path, name: str, bad: float, dtype: type
) -> None:
    pixels = np.zeros((3, 6, 8), dtype)
    pixels[1, 2, 3] = bad
    write_volume(tmp_path / name, pixels)
    assert "NaN or infinite" in refusal(tmp_path / name, 1)
    assert read_case(tmp_path / name, 0).size == read_case(tmp_path / name, 2).size == (6, 8)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.97])
def test_truncated_volume_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, kept: float
) -> None:
    write_volume(tmp_path / name, NOISE[np.newaxis, ..., 0].astype(np.int16))
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes((tmp_path / name).read_bytes()[: int((tmp_path / name).stat().st_size * kept)])
    assert "truncated" in refusal(cut)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
def test_header_without_its_data_file_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    write_volume(tmp_path / name, NOISE[np.newaxis, ..., 0])
    (tmp_path / "a.raw").unlink()
    assert "damaged" in refusal(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def change_nifti(path: Path, **changes: tuple[str, int, tuple[float, ...]]) -> None:
    data = bytearray(path.read_bytes())
    for layout, offset, values in changes.values():
        struct.pack_into(layout, data, offset, *values)
    path.write_bytes(data)


def test_sheared_nifti_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_volume(tmp_path / "a.nii", GRADIENT[np.newaxis])
    shear = (1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    change_nifti(tmp_path / "a.nii", codes=("<2h", 252, (0, 1)), rows=("<12f", 280, shear))
    assert "sheared" in refusal(tmp_path / "a.nii")
    assert capfd.readouterr() == ("", "")


def test_2d_nifti_of_a_sagittal_plane_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", GRADIENT)
    sagittal = (0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0)
    change_nifti(tmp_path / "a.nii", codes=("<2h", 252, (0, 1)), rows=("<12f", 280, sagittal))
    assert "3D with one slice" in refusal(tmp_path / "a.nii")


def test_nifti_that_declares_terabytes_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii", GRADIENT[np.newaxis])
    change_nifti(tmp_path / "a.nii", dim=("<8h", 40, (3, 30000, 30000, 30000, 1, 1, 1, 1)))
    assert "truncated" in refusal(tmp_path / "a.nii")


# ------------------------------------------------------------------------------- DICOM


def test_dicom_ct_is_rescaled_and_placed() -> None:
    path = pydicom_file("CT_small.dcm")
    dataset = dcmread(path)
    case = read_case(path)
    assert np.array_equal(case.image, dataset.pixel_array.astype(int) - 1024)
    assert case.modality == "CT" and case.mask_suffix == ".nii.gz" and case.window is None
    itk = SimpleITK.ReadImage(str(path))
    assert np.array_equal(case.image, SimpleITK.GetArrayFromImage(itk)[0])
    assert case.geometry is not None
    assert np.allclose(case.geometry.spacing, (0.661468, 0.661468, 5.0))
    assert np.allclose(case.geometry.origin, itk.GetOrigin())
    assert np.allclose(case.geometry.direction, itk.GetDirection())


def test_dicom_window_is_kept() -> None:
    case = read_case(pydicom_file("MR_small.dcm"))
    assert case.window == (600.0, 1600.0) and case.modality == "MR"


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_padded.dcm",
    ],
)
def test_every_encoding_of_one_dicom_gives_the_same_image(name: str) -> None:
    case = read_case(pydicom_file(name))
    assert np.array_equal(case.image, read_case(pydicom_file("MR_small.dcm")).image)
    assert case.image.dtype.isnative


def test_lossy_jpeg2000_dicom() -> None:
    case = read_case(pydicom_file("693_J2KI.dcm"))
    assert case.size == (512, 512) and case.window == (40.0, 100.0)


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "SC_ybr_full_422_uncompressed.dcm"])
def test_ybr_dicom_becomes_rgb(name: str) -> None:
    image = read_case(pydicom_file(name)).image.astype(int)
    reference = read_case(pydicom_file("SC_rgb_rle.dcm")).image.astype(int)
    assert image.shape == (100, 100, 3)
    # The colour bars agree up to the encoding's blurred edges.
    assert (np.abs(image - reference).max(axis=2) < 12).mean() > 0.8


def test_palette_dicom_becomes_rgb_without_geometry() -> None:
    case = read_case(pydicom_file("examples_palette.dcm"))
    assert case.image.shape == (350, 800, 3) and case.image.dtype == np.uint8
    assert case.image.std(axis=2).max() > 10
    assert case.geometry is None


def test_frames_of_a_dicom_are_slices() -> None:
    path = pydicom_file("SC_rgb_rle_2frame.dcm")
    assert "holds 2 slices" in refusal(path)
    first, second = read_case(path, 0), read_case(path, 1)
    assert first.image.shape == second.image.shape == (100, 100, 3)
    assert not np.array_equal(first.image, second.image)


def test_frames_of_a_dose_grid_lie_apart() -> None:
    path = pydicom_file("rtdose.dcm")
    offsets = dcmread(path).GridFrameOffsetVector
    low, high = read_case(path, 0).geometry, read_case(path, 4).geometry
    assert low is not None and high is not None
    moved = np.subtract(high.origin, low.origin)
    assert np.allclose(moved, (0, 0, offsets[4] - offsets[0]))


def test_place_of_an_enhanced_frame_comes_from_its_functional_groups(tmp_path: Path) -> None:
    def group(**sequences: dict[str, object]) -> Dataset:
        item = Dataset()
        for name, attributes in sequences.items():
            inner = Dataset()
            for keyword, value in attributes.items():
                setattr(inner, keyword, value)
            setattr(item, name, [inner])
        return item

    dataset = dcmread(pydicom_file("CT_small.dcm"))
    pixels = np.stack([dataset.pixel_array, dataset.pixel_array // 2])
    del dataset.PixelSpacing, dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.SpacingBetweenSlices
    dataset.NumberOfFrames, dataset.PixelData = 2, pixels.tobytes()
    dataset.SharedFunctionalGroupsSequence = [
        group(
            PixelMeasuresSequence={"PixelSpacing": [0.5, 0.25], "SliceThickness": 4},
            PlaneOrientationSequence={"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
            PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": -10},
            FrameVOILUTSequence={"WindowCenter": 50, "WindowWidth": 80},
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        group(PlanePositionSequence={"ImagePositionPatient": [1, 2, 3 + frame]})
        for frame in range(2)
    ]
    dataset.save_as(tmp_path / "enhanced.dcm")
    case = read_case(tmp_path / "enhanced.dcm", 1)
    assert np.array_equal(case.image, pixels[1] * 2.0 - 10)
    assert case.window == (50.0, 80.0)
    assert case.geometry == Geometry(
        (0.25, 0.5, 4.0), (1.0, 2.0, 4.0), (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    )


def test_monochrome1_is_inverted_with_its_window(tmp_path: Path) -> None:
    dataset = dcmread(pydicom_file("MR_small.dcm"))
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.save_as(tmp_path / "a.dcm")
    plain = read_case(pydicom_file("MR_small.dcm")).image.astype(int)
    case = read_case(tmp_path / "a.dcm")
    total = int(plain.min() + plain.max())
    assert np.array_equal(case.image, total - plain)
    assert case.window == (total - 600.0, 1600.0)


def test_pixel_spacing_alone_gives_an_unplaced_geometry(tmp_path: Path) -> None:
    dataset = dcmread(pydicom_file("CT_small.dcm"))
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient, dataset.SliceThickness
    del dataset.SpacingBetweenSlices
    dataset.PixelSpacing = [0.5, 0.25]  # rows are 0.5 mm apart
    dataset.save_as(tmp_path / "a.dcm")
    geometry = read_case(tmp_path / "a.dcm").geometry
    assert geometry == Geometry((0.25, 0.5, 1.0), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


@pytest.mark.parametrize("name", ["scan", "CT.1.2.840.113619.42", "IM0001", "scan.png", "scan.img"])
def test_dicom_is_known_by_its_magic_not_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pydicom_file("CT_small.dcm").read_bytes())
    assert read_case(tmp_path / name).modality == "CT"


@pytest.mark.parametrize("name", ["old.dcm", "old", "old.42"])
def test_dicom_without_preamble_and_transfer_syntax(tmp_path: Path, name: str) -> None:
    dataset = dcmread(pydicom_file("MR_small_implicit.dcm"))
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(
        tmp_path / name, implicit_vr=True, little_endian=True, enforce_file_format=False
    )
    assert (tmp_path / name).read_bytes()[128:132] != b"DICM"
    image = read_case(tmp_path / name).image
    assert np.array_equal(image, read_case(pydicom_file("MR_small.dcm")).image)


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_dicom_without_pixels_is_refused(name: str) -> None:
    assert "holds no pixels" in refusal(pydicom_file(name))


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "693_J2KI.dcm", "SC_rgb_jpeg.dcm", "MR_small_RLE.dcm", "JPGExtended.dcm"],
)
@pytest.mark.parametrize("kept", [0.05, 0.4, 0.7, 0.9])
def test_truncated_dicom_is_refused_in_silence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, kept: float
) -> None:
    whole = pydicom_file(name).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: int(len(whole) * kept)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refusal(tmp_path / "cut.dcm")
    assert capfd.readouterr() == ("", "")


def test_values_that_pydicom_complains_about_stay_out_of_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("DEBUG"):
        assert "1A" not in refusal(pydicom_file("badVR.dcm"))
    assert caplog.text == ""


def test_refusal_and_logs_never_name_the_patient(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = dcmread(pydicom_file("MR_small.dcm"))
    dataset.PatientName, dataset.PatientID = "Kowalski^Jan", "PID4711"
    dataset.save_as(tmp_path / "a.dcm")
    # An impossible value, so that pydicom complains about it.
    damaged = (tmp_path / "a.dcm").read_bytes().replace(b"Kowalski^Jan", b"Kowal\x01ki^Jan")
    (tmp_path / "a.dcm").write_bytes(damaged[:-3000])
    message = refusal(tmp_path / "a.dcm")
    for text in (message, caplog.text):
        assert "Kowal" not in text and "PID4711" not in text


# ------------------------------------------------------------------------------- folders


def write_series(folder: Path, positions: list[float], series: str = "1.2.3") -> None:
    folder.mkdir(exist_ok=True)
    dataset = dcmread(pydicom_file("CT_small.dcm"))
    for index, z in enumerate(positions):
        dataset.SeriesInstanceUID = series
        dataset.ImagePositionPatient = [0, 0, z]
        dataset.PixelData = np.full((128, 128), 1024 + int(z), np.int16).tobytes()
        dataset.save_as(folder / f"{series}-{index}.dcm")


def test_folder_with_one_dicom_ignores_the_rest(tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("normal")
    (tmp_path / "IM1").write_bytes(pydicom_file("CT_small.dcm").read_bytes())
    (tmp_path / "report.dcm").write_bytes(pydicom_file("test-SR.dcm").read_bytes())
    (tmp_path / "broken.dcm").write_bytes(b"x" * 300)
    case = read_case(tmp_path)
    assert case.modality == "CT" and case.source == tmp_path / "IM1"


def test_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    assert "holds no DICOM" in refusal(tmp_path)


def test_series_folder_needs_a_slice_and_is_sorted_by_place(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    write_series(folder, [20.0, -10.0, 5.0])
    assert "holds 3 DICOM files; choose one, or use --slice" in refusal(folder)
    for k, z in enumerate([-10.0, 5.0, 20.0]):
        case = read_case(folder, k)
        assert case.geometry is not None
        assert case.geometry.origin[2] == z and (case.image == z).all()
        assert case.geometry.spacing[2] == 15.0  # 5 mm thick, 15 mm apart
    assert "0 to 2" in refusal(folder, 3)


def test_folder_of_two_series_or_of_a_time_series_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "time", [0.0, 5.0, 5.0])
    assert "same place" in refusal(tmp_path / "time", 0)
    write_series(tmp_path / "two", [0.0, 5.0])
    write_series(tmp_path / "two", [0.0, 5.0], series="1.2.4")
    assert "2 series" in refusal(tmp_path / "two", 0)


# ------------------------------------------------------------------------------- masks


def geometries() -> st.SearchStrategy[Geometry]:
    def build(
        spacing: tuple[float, float, float],
        origin: tuple[float, float, float],
        angles: tuple[float, float, float],
        flips: tuple[int, int, int],
    ) -> Geometry:
        matrix = Rotation.from_euler("xyz", angles).as_matrix() * np.array(flips)
        return Geometry(spacing, origin, tuple(matrix.ravel().tolist()))

    def three(values: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[float, ...]]:
        return st.tuples(values, values, values)

    return st.builds(
        build,
        three(st.floats(0.01, 20.0)),
        three(st.floats(-2000.0, 2000.0)),
        three(st.floats(-math.pi, math.pi)),
        three(st.sampled_from([1, -1])),
    )


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
@given(geometry=geometries(), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_mask_comes_back_where_it_was(suffix: str, geometry: Geometry, seed: int) -> None:
    mask = np.random.default_rng(seed).random((5, 7)) > 0.5
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mask{suffix}"
        write_mask(mask, Case(np.zeros((5, 7)), geometry), path)
        back = read_case(path)
        assert SimpleITK.ReadImage(str(path)).GetSize() == (7, 5, 1)
        assert [entry.name for entry in Path(folder).iterdir()] == [path.name]
    assert np.array_equal(back.image, mask)
    assert back.image.dtype == np.uint8
    assert back.geometry is not None
    # NIfTI holds float32: 0.1 micrometre at 2 m, and quaternions.
    exact = suffix == ".nrrd"
    assert np.allclose(back.geometry.spacing, geometry.spacing, rtol=1e-12 if exact else 1e-5)
    assert np.allclose(back.geometry.origin, geometry.origin, atol=1e-9 if exact else 2e-4)
    assert np.allclose(back.geometry.direction, geometry.direction, atol=1e-9 if exact else 1e-4)


def test_png_mask_is_black_and_white(tmp_path: Path) -> None:
    mask = GRADIENT > 100
    write_mask(mask, Case(GRADIENT), tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "L"
        assert np.array_equal(np.array(picture), mask * np.uint8(255))


def test_mask_without_geometry_can_still_be_nifti(tmp_path: Path) -> None:
    write_mask(GRADIENT > 100, Case(GRADIENT), tmp_path / "mask.nii.gz")
    assert np.array_equal(read_case(tmp_path / "mask.nii.gz").image, GRADIENT > 100)


def test_mask_of_another_size_or_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write_mask(np.zeros((3, 3), bool), Case(GRADIENT), tmp_path / "mask.png")
    with pytest.raises(Sim4SegError, match=r"\.nii\.gz"):
        write_mask(GRADIENT > 100, Case(GRADIENT), tmp_path / "mask.jpg")
    for name in ("mask.png", "mask.nii.gz", "mask.nrrd"):
        with pytest.raises(Sim4SegError, match="no such file or folder"):
            write_mask(GRADIENT > 100, Case(GRADIENT), tmp_path / "gone" / name)
    assert list(tmp_path.iterdir()) == []


def limit_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))


@pytest.mark.parametrize(
    ("name", "density"),
    [
        ("mask.png", 0.5),
        ("mask.nii", 0.5),
        ("mask.nii", 0.0),  # what is missing reads back as zeros, like the mask
        ("mask.nii.gz", 0.5),
        ("mask.nrrd", 0.5),
    ],
)
def test_mask_that_does_not_fit_on_the_disk_leaves_the_old_one(
    tmp_path: Path, name: str, density: float
) -> None:
    """A real short write, since ITK's NIfTI writer reports success on a full disk."""
    (tmp_path / name).write_bytes(b"old")
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from Sim4SegCore.case import Case\n"
        "from Sim4SegCore.errors import Sim4SegError\n"
        "from Sim4SegCore.io import write_mask\n"
        "mask = np.random.default_rng(0).random((300, 300)) < float(sys.argv[2])\n"
        "try:\n"
        "    write_mask(mask, Case(mask.astype(np.uint8)), Path(sys.argv[1]))\n"
        "except Sim4SegError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(tmp_path / name), str(density)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        preexec_fn=limit_file_size,
        timeout=60,
    )
    assert done.stdout.startswith(f'cannot write "{name}"'), done.stdout + done.stderr
    assert done.stdout.count("\n") == 1 and done.stderr == ""
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"old"


# ------------------------------------------------------------------------------- the real thing


@needs_volumes
def test_real_nifti_slice_matches_itk() -> None:
    path = SHARED / "volumes" / "ct" / "small_3mm.nii.gz"
    volume = SimpleITK.ReadImage(str(path))
    case = read_case(path, 17)
    assert np.array_equal(case.image, SimpleITK.GetArrayFromImage(volume)[17])
    assert case.geometry is not None
    assert np.allclose(case.geometry.origin, volume.TransformIndexToPhysicalPoint((0, 0, 17)))
    assert case.geometry.direction == volume.GetDirection()


@needs_volumes
@pytest.mark.parametrize("name", ["ct/dicom_series", "mr/glioblastoma_T1post_dicom"])
def test_real_dicom_series_matches_itk(name: str, tmp_path: Path) -> None:
    folder = SHARED / "volumes" / name
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    volume = reader.Execute()
    k = volume.GetSize()[2] - 3
    case = read_case(folder, k)
    assert np.array_equal(case.image, SimpleITK.GetArrayFromImage(volume)[k])
    assert case.geometry is not None
    assert np.allclose(
        case.geometry.origin, volume.TransformIndexToPhysicalPoint((0, 0, k)), atol=1e-3
    )
    assert np.allclose(case.geometry.direction, volume.GetDirection(), atol=1e-4)
    assert np.allclose(case.geometry.spacing, volume.GetSpacing(), atol=1e-3)

    write_mask(case.image > 0, case, tmp_path / "mask.nii.gz")
    back = read_case(tmp_path / "mask.nii.gz").geometry
    assert back is not None and np.allclose(back.origin, case.geometry.origin, atol=1e-3)
    assert np.allclose(back.direction, case.geometry.direction, atol=1e-4)


@needs_volumes
def test_real_mask_overlaps_its_image() -> None:
    folder = SHARED / "volumes" / "mr"
    image = read_case(folder / "brain_tumor_image.nrrd", 12)
    label = read_case(folder / "brain_tumor_label.nrrd", 12)
    assert image.geometry is not None and label.geometry is not None
    assert image.size == label.size
    assert np.allclose(image.geometry.origin, label.geometry.origin)


def test_reading_leaves_the_streams_as_they_were(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_volume(tmp_path / "a.mha", GRADIENT[np.newaxis])
    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    read_case(tmp_path / "a.mha")
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"
    assert SimpleITK.ProcessObject.GetGlobalWarningDisplay() == before


def test_import_is_cheap() -> None:
    program = (
        "import sys, Sim4SegCore.io, Sim4SegCore.output\n"
        "heavy = {'SimpleITK', 'pydicom', 'PIL', 'matplotlib', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
