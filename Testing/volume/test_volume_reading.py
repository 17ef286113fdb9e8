"""Reading volumes of every supported kind, and refusing every kind of bad one in one line."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from Sim4SegCore import Sim4SegError
from Sim4SegCore.io import read_case, read_volume_case

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 60
NO_COLOURS = "colour volumes are not supported; save it as one grey volume"
TURNED = (0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0)


def write(path: Path, voxels: np.ndarray = VOXELS, compressed: bool = False) -> Path:
    image = SimpleITK.GetImageFromArray(voxels, isVector=False)
    if image.GetDimension() == 3:
        image.SetSpacing((0.5, 0.75, 5.0))
        image.SetOrigin((10.0, -20.0, 30.0))
        image.SetDirection(TURNED)
    SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    return path


def refusal(path: Path, series: int | None = None) -> str:
    with pytest.raises(Sim4SegError) as caught:
        read_volume_case(path, series)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert path.name in message or path.is_dir()
    return message


def write_series(
    folder: Path, places: list[float], series: str = "1.2.3", side: int = 128, number: int = 1
) -> Path:
    folder.mkdir(exist_ok=True)
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.Rows = dataset.Columns = side
    dataset.SeriesInstanceUID, dataset.SeriesNumber = series, number
    dataset.PatientName = "Kowalski^Jan"
    for index, place in enumerate(places):
        dataset.ImagePositionPatient = [0, 0, place]
        pixels = np.full((side, side), 1024 + round(place), np.int16)
        pixels[0, 0] = 0
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{series}-{index}.dcm")
    return folder


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_volumes_keep_voxels_and_place(tmp_path: Path, name: str, compressed: bool) -> None:
    case = read_volume_case(write(tmp_path / name, compressed=compressed))
    assert np.array_equal(case.voxels, VOXELS) and case.voxels.dtype == np.int16
    assert case.geometry.spacing == pytest.approx((0.5, 0.75, 5.0))
    assert case.geometry.origin == pytest.approx((10.0, -20.0, 30.0))
    assert case.geometry.direction == pytest.approx(TURNED)
    assert case.mask_suffix == (".nii.gz" if "nii" in name else ".nrrd")


def test_big_endian_nifti_arrives_in_native_order(tmp_path: Path) -> None:
    data = write(tmp_path / "a.nii").read_bytes()
    header, voxels = data[:352], np.frombuffer(data[352:], "<i2").astype(">i2")
    swapped = bytearray(header)
    for form, start, count in (("i", 0, 1), ("h", 40, 8), ("h", 70, 3), ("f", 76, 11)):
        values = struct.unpack_from(f"<{count}{form}", header, start)
        struct.pack_into(f">{count}{form}", swapped, start, *values)
    for form, start, count in (("h", 252, 2), ("f", 256, 18)):
        values = struct.unpack_from(f"<{count}{form}", header, start)
        struct.pack_into(f">{count}{form}", swapped, start, *values)
    (tmp_path / "big.nii").write_bytes(bytes(swapped) + voxels.tobytes())
    case = read_volume_case(tmp_path / "big.nii")
    assert np.array_equal(case.voxels, VOXELS) and case.voxels.dtype.isnative


def test_a_fourth_dimension_of_length_one_is_no_time_series(tmp_path: Path) -> None:
    case = read_volume_case(write(tmp_path / "a.nii", VOXELS[None]))
    assert np.array_equal(case.voxels, VOXELS)


def test_directions_that_are_no_unit_vectors_lengthen_the_spacing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mha")
    data = path.read_bytes()
    longer = data.replace(b"TransformMatrix = 0 0 1", b"TransformMatrix = 0 0 2")
    assert longer != data
    path.write_bytes(longer)
    case = read_volume_case(path)
    assert case.geometry.spacing == pytest.approx((1.0, 0.75, 5.0))
    assert case.geometry.direction == pytest.approx(TURNED)


@pytest.mark.parametrize(
    ("name", "voxels", "word"),
    [
        ("4d.nii", np.stack([VOXELS, VOXELS]), "time series"),
        ("4d.nrrd", np.stack([VOXELS, VOXELS]), "time series"),
        ("one.nii", VOXELS[:1], "single slice"),
        ("flat.nrrd", VOXELS[0], "single slice"),
        ("same.nii.gz", np.full((3, 4, 5), 7, np.int16), "same value"),
        ("nan.nii", np.where(VOXELS == 0, np.nan, VOXELS).astype(np.float32), "NaN"),
        ("nan.nrrd", np.where(VOXELS == 0, np.nan, VOXELS).astype(np.float32), "NaN"),
        ("inf.mha", np.where(VOXELS == 0, np.inf, VOXELS).astype(np.float64), "NaN"),
    ],
)
def test_volumes_of_no_use_are_refused(
    tmp_path: Path, name: str, voxels: np.ndarray, word: str
) -> None:
    assert word in refusal(write(tmp_path / name, voxels))


def write_colours(path: Path, colours: np.ndarray) -> Path:
    """A volume of as many values per voxel as the last axis has."""
    image = SimpleITK.GetImageFromArray(colours, isVector=True)
    image.SetSpacing((0.5, 0.75, 5.0))
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["rgb.nii", "rgb.nrrd", "rgb.mha"])
def test_colour_volumes_are_refused(tmp_path: Path, name: str) -> None:
    colours = np.full((3, 4, 5, 3), 90, np.uint8)
    colours[2, 1, 3] = (90, 90, 91)
    assert NO_COLOURS in refusal(write_colours(tmp_path / name, colours))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", ["sweep.nii.gz", "sweep.nrrd", "sweep.mha"])
def test_equal_channels_are_grey(tmp_path: Path, name: str, channels: int) -> None:
    grey = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    colours = np.stack([grey, grey, grey, grey * 0 + 255][:channels], axis=-1)
    case = read_volume_case(write_colours(tmp_path / name, colours))
    assert np.array_equal(case.voxels, grey) and case.voxels.dtype == np.uint8
    assert case.geometry.spacing == pytest.approx((0.5, 0.75, 5.0))


@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.mha"])
def test_vectors_that_are_no_colours_are_refused(tmp_path: Path, name: str) -> None:
    vectors = np.zeros((3, 4, 5, 3), np.float32)
    assert "time series and vectors" in refusal(write_colours(tmp_path / name, vectors))


def test_missing_spacing_is_refused(tmp_path: Path) -> None:
    nrrd = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(nrrd + bytes(range(8)))
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
    (tmp_path / "a.mha").write_bytes(mha + b"ElementDataFile = LOCAL\n" + bytes(range(8)))
    nifti = bytearray(write(tmp_path / "a.nii").read_bytes())
    struct.pack_into("<3f", nifti, 80, 0.0, 0.0, 0.0)
    (tmp_path / "a.nii").write_bytes(nifti)
    colours = b"NRRD0004\ntype: uint8\ndimension: 4\nsizes: 3 2 2 2\nencoding: raw\n"
    colours += b"kinds: RGB-color domain domain domain\nspacings: nan 1 1 nan\n\n"
    (tmp_path / "b.nrrd").write_bytes(colours + bytes(range(8)) * 3)
    for name in ("a.nrrd", "b.nrrd", "a.mha", "a.nii"):
        assert "how far its voxels are apart" in refusal(tmp_path / name)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_interrupted_writes_are_refused(
    tmp_path: Path, name: str, compressed: bool, kept: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 1000, (8, 30, 30)).astype(np.int16)
    data = write(tmp_path / name, noise, compressed).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * kept)])
    refusal(tmp_path / name)


def test_headers_of_30_gigabytes_without_data_take_no_memory(tmp_path: Path) -> None:
    sizes = "2500 2500 2500"
    spacing = "spacings: 1 1 1\n"
    for name, encoding in (("raw.nrrd", "raw"), ("gzip.nrrd", "gzip")):
        text = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\n{spacing}endian: little\n"
        (tmp_path / name).write_text(f"{text}encoding: {encoding}\n\n")
    mha = f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementSpacing = 1 1 1\n"
    (tmp_path / "a.mha").write_text(f"{mha}ElementType = MET_SHORT\nElementDataFile = LOCAL\n")
    (tmp_path / "a.mhd").write_text(f"{mha}ElementType = MET_SHORT\nElementDataFile = no.raw\n")
    header = bytearray(write(tmp_path / "a.nii").read_bytes()[:352])
    struct.pack_into("<4h", header, 40, 3, 2500, 2500, 2500)
    (tmp_path / "a.nii").write_bytes(header)
    with gzip.open(tmp_path / "a.nii.gz", "wb") as stream:
        stream.write(header)
    for path in sorted(tmp_path.iterdir()):
        refusal(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_third_of_the_data_of_colours_is_refused_before_reading(
    tmp_path: Path, name: str
) -> None:
    path = write_colours(tmp_path / name, np.full((8, 9, 10, 3), 90, np.uint8))
    path.write_bytes(path.read_bytes()[: -2 * 720])
    assert "less image data than its header promises" in refusal(path)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_less_data_than_the_header_promises_is_refused_before_reading(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-100])
    assert "less image data than its header promises" in refusal(path)


def test_voxels_in_the_wrong_byte_order_are_refused(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:64, :64]
    smooth = (np.hypot(rows - 30, columns - 30) * 20).astype(np.int16)
    right = write(tmp_path / "right.nrrd", np.stack([smooth] * 6))
    read_volume_case(right)
    write(tmp_path / "wrong.nrrd", np.stack([smooth.byteswap()] * 6))
    assert "bytes are swapped" in refusal(tmp_path / "wrong.nrrd")


def test_noise_has_no_wrong_byte_order(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(-30000, 30000, (6, 40, 40)).astype(np.int16)
    assert np.array_equal(read_volume_case(write(tmp_path / "a.nrrd", noise)).voxels, noise)


@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"NRRD0004\n", b"no header at all"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm", "a.png"])
def test_files_that_hold_no_volume_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


def test_missing_paths_and_a_series_of_a_file_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.nii")
    assert "leave --series out" in refusal(write(tmp_path / "a.nii"), series=1)


# ------------------------------------------------------------------------------- DICOM


def test_a_folder_in_any_order_becomes_one_volume(tmp_path: Path) -> None:
    case = read_volume_case(write_series(tmp_path / "s", [20.0, -10.0, 5.0]))
    assert case.voxels[:, 5, 5].tolist() == [-10, 5, 20]
    assert case.voxels.dtype == np.int16
    assert case.geometry.spacing[2] == 15.0 and case.geometry.origin[2] == -10.0
    assert case.modality == "CT" and case.warnings == ()


def invert(path: Path) -> None:
    """Declare what is stored to be MONOCHROME1, with a window."""
    dataset = dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.WindowCenter, dataset.WindowWidth = 4, 30
    dataset.save_as(path)


def test_a_monochrome1_series_is_inverted_as_a_whole(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0, 10.0])  # each with a corner of -1024
    for path in folder.iterdir():
        invert(path)
    case = read_volume_case(folder)
    assert case.voxels[:, 0, 0].tolist() == [10, 10, 10]
    assert case.voxels[:, 5, 5].tolist() == [-1014, -1019, -1024]
    assert case.window == (-1018.0, 30.0)


def test_a_series_of_which_some_is_monochrome1_is_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0, 10.0])
    invert(folder / "1.2.3-1.dcm")
    assert "only some of its slices are MONOCHROME1" in refusal(folder)


def test_uneven_slices_are_warned_of_and_missing_ones_refused(tmp_path: Path) -> None:
    uneven = read_volume_case(write_series(tmp_path / "uneven", [0.0, 5.0, 10.2, 15.0]))
    assert "varies" in uneven.warnings[0]
    gap = write_series(tmp_path / "gap", [0.0, 5.0, 10.0, 20.0, 25.0, 40.0])
    assert "about 3 of its slices are missing" in refusal(gap)
    wild = write_series(tmp_path / "wild", [0.0, 5.0, 11.0, 15.0])
    assert "unevenly" in refusal(wild)


def test_several_series_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "two", [0.0, 5.0], series="1.2.9", number=1)
    write_series(folder, [0.0, 5.0, 10.0], series="1.2.3", side=64, number=2)
    message = refusal(folder)
    assert "--series" in message and "Kowalski" not in message
    first = "1: series number 1, CT, axial, 2 slices of 128x128, 5 mm apart"
    second = "2: series number 2, CT, axial, 3 slices of 64x64, 5 mm apart"
    assert f"{first}; {second}" in message
    assert read_volume_case(folder, series=2).shape == (3, 64, 64)
    assert read_volume_case(folder, series=1).shape == (2, 128, 128)
    assert "1 to 2" in refusal(folder, series=3)


@pytest.mark.parametrize(
    ("cosines", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0.9, 0.4359], "axial"),  # tilted by 26 degrees
        ([1, 0, 0, 0, 0.7071, 0.7071], "oblique"),
        ([0, 0, 0, 0, 0, 0], None),
    ],
)
def test_listed_series_can_be_told_apart(
    tmp_path: Path, cosines: list[float], plane: str | None
) -> None:
    folder = write_series(tmp_path / "two", [0.0, 1.25, 2.5], series="1.2.3", number=301)
    write_series(folder, [0.0, 1.0, 2.0], series="1.2.4", number=302)
    for index, path in enumerate(sorted(folder.glob("1.2.4-*.dcm"))):
        dataset = dcmread(path)
        dataset.ImageOrientationPatient = cosines
        dataset.ImagePositionPatient = [
            8 * index * part for part in np.cross(cosines[:3], cosines[3:])
        ]
        dataset.SeriesDescription, dataset.StudyDate = "Kowalski, follow-up", "20210304"
        del dataset.SpacingBetweenSlices
        dataset.save_as(path)
    message = refusal(folder)
    assert "1: series number 301, CT, axial, 3 slices of 128x128, 1.25 mm apart;" in message
    if plane is None:
        assert "2: series number 302, CT, 3 slices of 128x128)" in message
    else:
        assert f"2: series number 302, CT, {plane}, 3 slices of 128x128, 8 mm apart)" in message
    assert "Kowalski" not in message and "2021" not in message


def test_a_listed_series_of_several_planes_has_no_distance(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "two", [0.0, 5.0], series="1.2.3", number=1)
    write_series(folder, [0.0, 5.0], series="1.2.4", number=2)
    dataset = dcmread(folder / "1.2.4-1.dcm")
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.save_as(folder / "1.2.4-1.dcm")
    assert "2: series number 2, CT, several planes, 2 slices of 128x128)" in refusal(folder)


def test_a_localiser_in_the_folder_is_left_out(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0, 10.0], series="1.2.9")
    write_series(folder, [0.0], series="1.2.1", side=32, number=0)
    assert read_volume_case(folder).shape == (3, 128, 128)


def test_stacks_that_are_no_grid_are_refused(tmp_path: Path) -> None:
    assert "same place" in refusal(write_series(tmp_path / "time", [0.0, 5.0, 5.0]))
    (tmp_path / "empty").mkdir()
    assert "holds no DICOM" in refusal(tmp_path / "empty")
    assert "single slice" in refusal(write_series(tmp_path / "one", [0.0]))
    folder = write_series(tmp_path / "sizes", [0.0, 5.0])
    write_series(folder, [10.0], side=64).joinpath("1.2.3-0.dcm").rename(folder / "other.dcm")
    write_series(folder, [0.0, 5.0])
    assert "differ in size" in refusal(folder)


@pytest.mark.parametrize(
    ("keyword", "values", "word"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 0.8, 0.6], "turned against each other"),
        ("ImagePositionPatient", [4, 0, 10], "tilted gantry"),
        ("ImagePositionPatient", None, "where they lie"),
    ],
)
def test_a_slice_out_of_line_is_refused(
    tmp_path: Path, keyword: str, values: list[float] | None, word: str
) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0, 10.0])
    dataset = dcmread(folder / "1.2.3-2.dcm")
    setattr(dataset, keyword, values)
    dataset.save_as(folder / "1.2.3-2.dcm")
    assert word in refusal(folder)


def test_without_places_the_refusal_says_what_can_be_asked(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0])
    for path in folder.iterdir():
        dataset = dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    assert refusal(folder).endswith("ask one of its files, without --mode")
    assert read_case(folder / "1.2.3-0.dcm").size == (128, 128)
    frames = write_frames(tmp_path / "frames.dcm", [0.0, 5.0])
    dataset = dcmread(frames)
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence
    dataset.save_as(frames)
    assert refusal(frames).endswith("choose one with --slice, without --mode")
    assert read_case(frames, 1).size == (128, 128)


def test_a_series_without_pixel_spacing_is_refused(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0])
    for path in folder.iterdir():
        dataset = dcmread(path)
        del dataset.PixelSpacing
        dataset.save_as(path)
    message = refusal(folder)
    assert message.endswith(
        "no PixelSpacing to measure in mm; ask one of its files, without --mode"
    )
    assert read_case(folder / "1.2.3-0.dcm").geometry is None


def write_frames(path: Path, places: list[float] | None) -> Path:
    """An enhanced CT: one file, a place for every frame; a film without places."""
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    count = 4 if places is None else len(places)
    dataset.NumberOfFrames = count
    planes = [np.full((128, 128), 1024 + n, np.int16) for n in range(count)]
    dataset.PixelData = b"".join(plane.tobytes() for plane in planes)
    if places is not None:
        del dataset.ImagePositionPatient
        groups = []
        for place in places:
            position, group = Dataset(), Dataset()
            position.ImagePositionPatient = [0, 0, place]
            group.PlanePositionSequence = Sequence([position])
            groups.append(group)
        dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.save_as(path)
    return path


def test_frames_of_an_enhanced_file_are_sorted_by_place(tmp_path: Path) -> None:
    case = read_volume_case(write_frames(tmp_path / "a.dcm", [4.0, 0.0, 2.0]))
    assert case.voxels[:, 0, 0].tolist() == [1, 2, 0]
    assert case.geometry.spacing[2] == 2.0 and case.geometry.origin[2] == 0.0


def test_a_film_and_a_single_image_are_no_volume(tmp_path: Path) -> None:
    assert "do not say where they lie" in refusal(write_frames(tmp_path / "a.dcm", None))
    (tmp_path / "b.dcm").write_bytes(
        Path(get_testdata_file("MR_small.dcm", download=False)).read_bytes()
    )
    assert "single slice" in refusal(tmp_path / "b.dcm")


def write_sweep(path: Path, slices: np.ndarray, places: list[tuple[float, ...]]) -> Path:
    """An enhanced ultrasound volume: 8 bits, placed in the probe's coordinates.

    Args:
        slices: (frames, rows, columns), or with three channels.
        places: of each frame's first pixel; rows lie along the probe's y, columns along its x.
    """
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    del dataset.RescaleSlope, dataset.RescaleIntercept, dataset.SliceThickness
    del dataset.PixelPaddingValue
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.2"
    dataset.Modality = "US"
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = slices.shape[:3]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if slices.ndim == 4:
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"
    dataset.PixelData = slices.tobytes()
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.25, 0.5]  # rows are 0.25 mm apart
    orientation.ImageOrientationVolume = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationVolumeSequence = Sequence([orientation])
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for place in places:
        position, group = Dataset(), Dataset()
        position.ImagePositionVolume = list(place)
        group.PlanePositionVolumeSequence = Sequence([position])
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = Sequence(groups)
    dataset.save_as(path)
    return path


SWEEP = np.arange(3 * 4 * 6, dtype=np.uint8).reshape(3, 4, 6)
SWEEP_PLACES = [(2.0, 3.0, 1.6), (2.0, 3.0, 0.8), (2.0, 3.0, 0.0)]


def test_an_ultrasound_sweep_is_placed_in_its_own_coordinates(tmp_path: Path) -> None:
    case = read_volume_case(write_sweep(tmp_path / "us.dcm", SWEEP, SWEEP_PLACES))
    assert np.array_equal(case.voxels, SWEEP[::-1]) and case.voxels.dtype == np.uint8
    assert case.geometry.spacing == pytest.approx((0.5, 0.25, 0.8))
    assert case.geometry.origin == (2.0, 3.0, 0.0)
    assert case.geometry.direction == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    assert case.modality == "US"
    (warning,) = case.warnings
    assert "not the patient's" in warning


def test_an_ultrasound_sweep_that_says_where_the_patient_is_lies_there(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "us.dcm", SWEEP, SWEEP_PLACES)
    dataset = dcmread(path)
    (shared,) = dataset.SharedFunctionalGroupsSequence
    orientation = Dataset()
    orientation.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    shared.PlaneOrientationSequence = Sequence([orientation])
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        position = Dataset()
        position.ImagePositionPatient = [5 - 2 * index, 6, 7]
        group.PlanePositionSequence = Sequence([position])
    dataset.save_as(path)
    case = read_volume_case(path)
    assert np.array_equal(case.voxels, SWEEP)  # the normal is the patient's right
    assert case.geometry.origin == (5.0, 6.0, 7.0) and case.warnings == ()
    assert case.geometry.spacing == pytest.approx((0.5, 0.25, 2.0))


def test_frames_of_a_sweep_that_are_shifted_or_at_one_place_are_refused(tmp_path: Path) -> None:
    same = write_sweep(tmp_path / "same.dcm", SWEEP, [SWEEP_PLACES[0]] * 3)
    assert "same place" in refusal(same)
    shifted = [(4.0 * z, 3.0, z) for _, _, z in SWEEP_PLACES]
    assert "shifted sideways" in refusal(write_sweep(tmp_path / "a.dcm", SWEEP, shifted))


def test_a_sweep_in_equal_channels_is_grey_and_a_coloured_one_refused(tmp_path: Path) -> None:
    channels = np.repeat(SWEEP[..., None], 3, axis=-1)
    case = read_volume_case(write_sweep(tmp_path / "grey.dcm", channels, SWEEP_PLACES))
    assert np.array_equal(case.voxels, SWEEP[::-1]) and case.voxels.dtype == np.uint8
    channels[1, 2, 3] = (200, 0, 0)  # Doppler
    path = write_sweep(tmp_path / "doppler.dcm", channels, SWEEP_PLACES)
    assert NO_COLOURS in refusal(path)


@pytest.mark.parametrize("is_coloured", [False, True])
def test_colours_of_a_series_are_treated_as_those_of_files(
    tmp_path: Path, is_coloured: bool
) -> None:
    folder = write_series(tmp_path / "s", [0.0, 5.0, 10.0])
    for path in folder.iterdir():
        dataset = dcmread(path)
        grey = np.full((128, 128, 1), 100 + int(dataset.ImagePositionPatient[2]), np.uint8)
        grey[7, 9, 0] = 3
        colours = np.repeat(grey, 3, axis=-1)
        colours[7, 9, 2] += is_coloured
        dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
        dataset.PhotometricInterpretation = "RGB"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0
        del dataset.PixelPaddingValue
        dataset.PixelData = colours.tobytes()
        dataset.save_as(path)
    if is_coloured:
        assert NO_COLOURS in refusal(folder)
        return
    case = read_volume_case(folder)
    assert case.shape == (3, 128, 128)
    assert case.voxels[:, 0, 0].tolist() == [100, 105, 110]
    assert case.voxels[:, 7, 9].tolist() == [3, 3, 3]


# ------------------------------------------------------------------------------- real volumes


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("ct/dicom_series", (20, 512, 512)),
        ("mr/glioblastoma_T1post_dicom", (22, 320, 280)),
        ("mr/brain_tumor_image.nrrd", (25, 256, 256)),
        ("ct/small_3mm.nii.gz", (30, 101, 122)),
    ],
)
def test_real_volumes_match_itk(shared_data: Path, name: str, shape: tuple[int, int, int]) -> None:
    path = shared_data / "volumes" / name
    reader = SimpleITK.ImageSeriesReader()
    if path.is_dir():
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        expected = reader.Execute()
    else:
        expected = SimpleITK.ReadImage(str(path))
    case = read_volume_case(path)
    assert case.shape == shape
    assert np.array_equal(case.voxels, SimpleITK.GetArrayFromImage(expected))
    assert case.geometry.spacing == pytest.approx(expected.GetSpacing(), abs=1e-4)
    assert case.geometry.origin == pytest.approx(expected.GetOrigin(), abs=1e-3)
    assert case.geometry.direction == pytest.approx(expected.GetDirection(), abs=1e-4)
