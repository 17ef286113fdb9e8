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
from Sim4SegCore.io import read_volume_case

VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) - 60
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


@pytest.mark.parametrize("name", ["rgb.nii", "rgb.nrrd", "rgb.mha"])
def test_colour_volumes_are_refused(tmp_path: Path, name: str) -> None:
    colours = np.zeros((3, 4, 5, 3), np.uint8)
    image = SimpleITK.GetImageFromArray(colours, isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / name))
    assert "colour" in refusal(tmp_path / name)


def test_missing_spacing_is_refused(tmp_path: Path) -> None:
    nrrd = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(nrrd + bytes(range(8)))
    mha = b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\n"
    (tmp_path / "a.mha").write_bytes(mha + b"ElementDataFile = LOCAL\n" + bytes(range(8)))
    nifti = bytearray(write(tmp_path / "a.nii").read_bytes())
    struct.pack_into("<3f", nifti, 80, 0.0, 0.0, 0.0)
    (tmp_path / "a.nii").write_bytes(nifti)
    for name in ("a.nrrd", "a.mha", "a.nii"):
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
    assert "1: CT, 2 slices of 128x128; 2: CT, 3 slices of 64x64" in message
    assert read_volume_case(folder, series=2).shape == (3, 64, 64)
    assert read_volume_case(folder, series=1).shape == (2, 128, 128)
    assert "1 to 2" in refusal(folder, series=3)


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
