"""Files in, files out: one 2D image becomes a Case, one mask goes back in the Case's geometry.

Every format's trouble ends here, as one sentence in a Sim4SegError. Messages name the file and
never what is inside it, since DICOM headers identify patients. Knows nothing of models.

PIL, SimpleITK and pydicom are imported inside the functions so that the package stays cheap.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import logging
import math
import os
import struct
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from .case import Case, Geometry
from .errors import Sim4SegError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 89_478_485
"""Largest accepted height x width; the size from which PIL suspects a decompression bomb."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
METAIMAGE_SUFFIXES = (".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MASK_SUFFIXES = (".png", ".nii", ".nii.gz", ".nrrd")

_PICTURE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_SUPPORTED = "PNG, JPEG, TIFF, BMP, DICOM, NIfTI (.nii, .nii.gz), NRRD or MetaImage (.mha, .mhd)"
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_DIRECTION_TOLERANCE = 1e-3
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"

# The switches that silence libraries belong to the whole process, so one reader at a time.
_QUIET_LOCK = threading.RLock()


def read_case(path: str | Path, slice_index: int | None = None) -> Case:
    """Read one 2D image.

    Args:
        path: a PNG, JPEG, TIFF, BMP, DICOM, NIfTI, NRRD or MetaImage file, or a folder that
            holds DICOM.
        slice_index: which slice (k of an ITK volume, frame of a multi-frame DICOM file, page
            of a TIFF, slice along the normal of a DICOM folder) to take, from 0; may be left
            out where there is only one.

    Returns:
        The image as stored: (H, W) or (H, W, 3), rows j and columns i, unflipped. DICOM values
        are rescaled to the modality's units; pictures are turned upright by their EXIF tag.

    Raises:
        Sim4SegError: if the path cannot be read, is damaged, unsupported, not 2D, or if
            `slice_index` is missing or out of range.
    """
    path = Path(path)
    if _is_folder(path):
        return _read_dicom_folder(path, slice_index)
    return _reader_for(path, _first_bytes(path))(path, slice_index)


def write_mask(mask: NDArray[np.bool_], case: Case, path: str | Path) -> None:
    """Write a mask so that it lies on the case's image.

    PNG holds 0 and 255; NIfTI and NRRD hold 0 and 1 in a volume of one slice with the case's
    origin, spacing and direction. The file appears complete or not at all.

    Args:
        mask: bool (H, W), in the pixels of `case.image`.
        case: the image that the mask belongs to.
        path: ends in .png, .nii, .nii.gz or .nrrd; an existing file is replaced.

    Raises:
        Sim4SegError: if the extension is unknown or the file cannot be written.
        ValueError: if mask and image differ in size.
    """
    path = Path(path)
    if mask.shape != case.size:
        raise ValueError(f"mask {mask.shape} does not fit the image {case.size}")
    suffix = _suffix_among(path, MASK_SUFFIXES)
    if suffix is None:
        raise Sim4SegError(
            f"cannot write {quoted(path)}: a mask is saved as {', '.join(MASK_SUFFIXES)}"
        )
    temporary = path.with_name(f".sim4seg-{uuid.uuid4().hex}{suffix}")
    try:
        if suffix == ".png":
            _write_png_mask(mask, temporary)
        else:
            _write_itk_mask(mask, case.geometry, temporary)
        temporary.replace(path)
    except OSError as error:
        raise explain_os_error(error, path, "write") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def quoted(path: Path) -> str:
    """The file's or folder's own name in quotes, safe to print on one line of any terminal."""
    name = path.name or str(path)
    return '"' + "".join(c if c.isprintable() else "?" for c in name) + '"'


def explain_os_error(error: OSError, path: Path, verb: str) -> Sim4SegError:
    """Say in one sentence why the system refused.

    Args:
        verb: what was tried, "read" or "write".
    """
    reasons = {
        errno.ENOENT: "there is no such file or folder; check the path",
        errno.ENOTDIR: "a part of the path is a file, not a folder; check the path",
        errno.EACCES: f"no permission to {verb} it; change the rights or choose another place",
        errno.EPERM: f"no permission to {verb} it; change the rights or choose another place",
        errno.EROFS: "the disk is read-only; choose another folder",
        errno.ENOSPC: "no space left on the disk; free some and run again",
        errno.EDQUOT: "no space left in your quota; free some and run again",
        errno.ENAMETOOLONG: "the path is too long; choose a shorter one",
    }
    reason = reasons.get(error.errno or 0) or error.strerror or "the system refused"
    return Sim4SegError(f"cannot {verb} {quoted(path)}: {reason}")


def _cannot_read(path: Path, reason: str) -> Sim4SegError:
    return Sim4SegError(f"cannot read {quoted(path)}: {reason}")


@contextlib.contextmanager
def _decoding(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into one sentence."""
    try:
        yield
    except Sim4SegError:
        raise
    except MemoryError:
        raise _cannot_read(path, "it does not fit into memory; crop or downsample it") from None
    # Decoders fail on hostile bytes with nearly every exception there is, and their texts
    # quote header values.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise explain_os_error(error, path, "read") from None
        raise _cannot_read(
            path, f"it is not a {kind} file, or damaged, truncated or of an unsupported variant"
        ) from None


@contextlib.contextmanager
def _quiet_libraries(including_stderr: bool = False) -> Iterator[None]:
    """Keep warnings, which quote header values, out of the user's terminal and logs."""
    logger = logging.getLogger("pydicom")
    with _QUIET_LOCK, warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        if including_stderr:
            stack.enter_context(_stderr_to_nowhere())
        was_disabled, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = was_disabled


@contextlib.contextmanager
def _stderr_to_nowhere() -> Iterator[None]:
    """C++ code prints to the file descriptor, past sys.stderr."""
    try:
        saved = os.dup(2)
    except OSError:  # a windowed program may have no stderr at all
        yield
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


# --------------------------------------------------------------------------- finding the reader

_Reader = Callable[[Path, "int | None"], Case]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise explain_os_error(error, path, "read") from None


def _first_bytes(path: Path) -> bytes:
    """The start of a regular, non-empty file, long enough to hold DICOM's magic."""
    try:
        if path.exists() and not path.is_file():
            raise _cannot_read(path, "it is not a regular file; give an image file")
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError as error:
        raise explain_os_error(error, path, "read") from None
    except ValueError:
        raise _cannot_read(path, "this is not a valid file name; check the path") from None
    if not head:
        raise _cannot_read(path, "the file is empty; copy or export it again")
    return head


def _suffix_among(path: Path, suffixes: tuple[str, ...]) -> str | None:
    """The longest of `suffixes` that the file's name ends in."""
    matching = [suffix for suffix in suffixes if path.name.lower().endswith(suffix)]
    return max(matching, key=len, default=None)


def _may_be_bare_dicom(path: Path) -> bool:
    """Scanners name files without extension, or by a number or UID."""
    suffix = path.suffix.lower()
    return suffix in DICOM_SUFFIXES or suffix == "" or suffix[1:].isdigit()


def _reader_for(path: Path, head: bytes) -> _Reader:
    if head[128:132] == b"DICM":
        return _read_dicom
    if _suffix_among(path, PICTURE_SUFFIXES):
        return _read_picture
    if _suffix_among(path, NIFTI_SUFFIXES):
        return _read_nifti
    if _suffix_among(path, NRRD_SUFFIXES + METAIMAGE_SUFFIXES):
        return _read_nrrd_or_metaimage
    if _may_be_bare_dicom(path):
        return _read_dicom
    raise _cannot_read(path, f"unsupported file type; convert it to {_SUPPORTED}")


def _choose_slice(path: Path, count: int, slice_index: int | None) -> int:
    if slice_index is None and count != 1:
        raise _cannot_read(
            path, f"it holds {count} slices; choose one with --slice K (0 to {count - 1})"
        )
    chosen = slice_index or 0
    if not 0 <= chosen < count:
        valid = f"--slice must be 0 to {count - 1}" if count > 1 else "leave --slice out"
        raise _cannot_read(path, f"there is no slice {chosen}, it holds {count}; {valid}")
    return chosen


def _check_pixel_count(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _cannot_read(
            path,
            f"{width}x{height} pixels are more than the {MAX_PIXELS} allowed; "
            "crop or downsample it",
        )


def _make_case(path: Path, image: NDArray[Any], **fields: Any) -> Case:
    try:
        return Case(image=image, source=path, **fields)
    except Sim4SegError as error:
        raise _cannot_read(path, str(error)) from None


# --------------------------------------------------------------------------- PNG, JPEG, TIFF, BMP


def _read_picture(path: Path, slice_index: int | None) -> Case:
    with _decoding(path, "PNG, JPEG, TIFF or BMP"), _quiet_libraries(), path.open("rb") as stream:
        picture = _decode_picture(path, stream, slice_index)
        pixels = _picture_to_array(picture)
    return _make_case(path, pixels, mask_suffix=".png")


def _decode_picture(path: Path, stream: BinaryIO, slice_index: int | None) -> Image:
    from PIL import Image, ImageOps

    try:
        picture: Image.Image = Image.open(stream, formats=_PICTURE_FORMATS)
    except Image.DecompressionBombError:
        raise _cannot_read(
            path, f"it has far more than {MAX_PIXELS} pixels; crop or downsample it"
        ) from None
    _check_pixel_count(path, *picture.size)
    if picture.format == "PNG":
        # load() is content with the pixels; only verify() misses the end of a cut file.
        picture.verify()
        stream.seek(0)
        picture = Image.open(stream, formats=_PICTURE_FORMATS)
    # A phone's MPO holds thumbnails behind the photo; pages are only meant in TIFF.
    pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    picture.seek(_choose_slice(path, pages, slice_index))
    _check_pixel_count(path, *picture.size)
    picture.load()
    return ImageOps.exif_transpose(picture)


def _picture_to_array(picture: Image) -> NDArray[Any]:
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    elif not (picture.mode in ("L", "I", "F", "RGB") or picture.mode.startswith("I;16")):
        picture = picture.convert("RGB")
    return _native(np.array(picture))


def _native(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same values in this machine's byte order, which torch insists on."""
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


# --------------------------------------------------------------------------- ITK's formats


def _read_nifti(path: Path, slice_index: int | None) -> Case:
    with _decoding(path, "NIfTI"):
        header = _check_nifti_is_complete(path)
    case = _read_itk(path, slice_index, "NIfTI", ".nii.gz")
    with _decoding(path, "NIfTI"):
        _check_nifti_slice_is_finite(path, header, slice_index or 0)
    return case


def _read_nrrd_or_metaimage(path: Path, slice_index: int | None) -> Case:
    kind = "NRRD" if _suffix_among(path, NRRD_SUFFIXES) else "MetaImage"
    return _read_itk(path, slice_index, kind, ".nrrd")


@dataclass(frozen=True)
class _NiftiHeader:
    """What a NIfTI file says of its own bytes."""

    shape: tuple[int, ...]
    bits: int
    datatype: int
    offset: int
    byte_order: str

    @property
    def file_size(self) -> int:
        return self.offset + math.prod(self.shape) * self.bits // 8


def _parse_nifti_header(header: bytes) -> _NiftiHeader:
    """Read the first 540 bytes of a NIfTI-1 or -2 file."""
    order = "<" if header[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0") else ">"
    (version_size,) = struct.unpack_from(order + "i", header, 0)
    if version_size == 348:
        shape = struct.unpack_from(order + "8h", header, 40)
        datatype, bits = struct.unpack_from(order + "2h", header, 70)
        (offset,) = struct.unpack_from(order + "f", header, 108)
    elif version_size == 540:
        shape = struct.unpack_from(order + "8q", header, 16)
        datatype, bits = struct.unpack_from(order + "2h", header, 12)
        (offset,) = struct.unpack_from(order + "q", header, 168)
    else:
        raise ValueError("no NIfTI header")
    extent = shape[1 : 1 + shape[0]]
    if not 1 <= shape[0] <= 7 or min(extent) < 1:
        raise ValueError("impossible dimensions")
    return _NiftiHeader(extent, bits, datatype, int(offset), order)


def _open_nifti(path: Path) -> BinaryIO:
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _check_nifti_is_complete(path: Path) -> _NiftiHeader:
    """ITK fills the missing part of a truncated NIfTI with noise and says nothing.

    Raises:
        EOFError, OSError, ValueError, struct.error, zlib.error: if it is not complete.
    """
    with _open_nifti(path) as stream:
        start = stream.read(540)
        length = len(start)
        while chunk := stream.read(1 << 20):
            length += len(chunk)
    header = _parse_nifti_header(start)
    if length < header.file_size:
        raise EOFError("shorter than its header says")
    return header


def _check_nifti_slice_is_finite(path: Path, header: _NiftiHeader, k: int) -> None:
    """ITK turns NaN and infinity in NIfTI into 0 and says nothing."""
    dtype = {16: "f4", 64: "f8"}.get(header.datatype)
    if dtype is None:
        return
    size = math.prod(header.shape[:2]) * header.bits // 8
    with _open_nifti(path) as stream:
        stream.seek(header.offset + k * size)
        pixels = np.frombuffer(stream.read(size), dtype=header.byte_order + dtype)
    if not np.isfinite(pixels).all():
        raise _cannot_read(path, "the image has NaN or infinite pixels; replace them first")


def _read_itk(path: Path, slice_index: int | None, kind: str, mask_suffix: str) -> Case:
    import SimpleITK

    # MetaImage's own C++ prints its complaints instead of raising them.
    with (
        _decoding(path, kind),
        _quiet_libraries(including_stderr=kind == "MetaImage"),
        _quiet_itk(),
    ):
        reader = SimpleITK.ImageFileReader()
        reader.SetFileName(os.fspath(path))
        _read_itk_header(path, reader)
        k = _choose_itk_slice(path, reader.GetSize(), slice_index)
        _check_itk_pixel_type(path, reader)
        _check_itk_direction(path, reader.GetDimension(), reader.GetDirection())
        image = _one_slice(reader.Execute(), k)
        pixels: NDArray[Any] = SimpleITK.GetArrayFromImage(image)[0]
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., :3])
    geometry = Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return _make_case(path, pixels, geometry=geometry, mask_suffix=mask_suffix)


@contextlib.contextmanager
def _quiet_itk() -> Iterator[None]:
    import SimpleITK

    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)


def _read_itk_header(path: Path, reader: Any) -> None:
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" not in str(error):
            raise
        raise _cannot_read(
            path, "its orientation is sheared or singular; resample it onto a regular grid first"
        ) from None


def _choose_itk_slice(path: Path, size: tuple[int, ...], slice_index: int | None) -> int:
    """Index of the slice along k; `size` is (i, j[, k[, t ...]])."""
    if math.prod(size[3:]) > 1:
        raise _cannot_read(
            path, f"it has {len(size)} dimensions; time series are not supported, save one volume"
        )
    slices = size[2] if len(size) > 2 else 1
    if slices > 1 and min(size[:2]) == 1:
        raise _cannot_read(
            path, "its only slice does not lie along the third axis; reorder its axes first"
        )
    _check_pixel_count(path, size[0], size[1])
    return _choose_slice(path, slices, slice_index)


def _check_itk_pixel_type(path: Path, reader: Any) -> None:
    import SimpleITK

    components = reader.GetNumberOfComponents()
    pixel_type = reader.GetPixelID()
    is_grey = components == 1
    is_rgb = components in (3, 4) and pixel_type in (
        SimpleITK.sitkVectorUInt8,
        SimpleITK.sitkVectorUInt16,
    )
    if not (is_grey or is_rgb):
        raise _cannot_read(
            path, f"it has {components} values per pixel that are no colours; save it grey or RGB"
        )


def _check_itk_direction(path: Path, dimension: int, direction: tuple[float, ...]) -> None:
    """A 2D file can only keep two rows of an oblique orientation; the rest cannot be guessed."""
    matrix = np.asarray(direction).reshape(dimension, dimension)
    if not np.allclose(matrix @ matrix.T, np.eye(dimension), atol=_DIRECTION_TOLERANCE):
        raise _cannot_read(
            path, "its orientation does not fit its dimension; save it as 3D with one slice"
        )


def _one_slice(image: Any, k: int) -> Any:
    """Slice k of a 2D, 3D or (one time point) higher image, as a 3D image that knows its place."""
    import SimpleITK

    while image.GetDimension() > 3:
        image = image[(*[slice(None)] * (image.GetDimension() - 1), 0)]
    if image.GetDimension() == 2:
        return SimpleITK.JoinSeries([image], 0.0, 1.0)
    return image[:, :, k : k + 1]


# --------------------------------------------------------------------------- DICOM


def _read_dicom(path: Path, slice_index: int | None) -> Case:
    with _decoding(path, "DICOM"), _quiet_libraries():
        dataset = _load_dataset(path)
        frame = _choose_slice(path, int(dataset.get("NumberOfFrames") or 1), slice_index)
        _check_pixel_count(path, int(dataset.Columns), int(dataset.Rows))
        pixels = _decode_frame(dataset, frame)
        window = _dicom_window(dataset, frame)
        if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
            pixels, window = _invert(pixels, window)
        geometry = _dicom_geometry(dataset, frame)
        modality = str(dataset.get("Modality") or "") or None
    return _make_case(
        path,
        pixels,
        geometry=geometry,
        modality=modality,
        window=window,
        mask_suffix=".nii.gz",
    )


def _load_dataset(path: Path) -> Any:
    """The whole file; older exports have neither preamble nor transfer syntax."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset = dcmread(path, force=True)
    if dataset.file_meta.get("MediaStorageSOPClassUID") == _DICOMDIR_CLASS:
        raise _cannot_read(path, "it is an index of a DICOM disc; give one of its image files")
    if "SOPClassUID" not in dataset and "Rows" not in dataset:
        raise _cannot_read(path, f"it is not a DICOM file; convert it to {_SUPPORTED}")
    if not {"PixelData", "FloatPixelData", "DoubleFloatPixelData"} & set(dataset.dir()):
        raise _cannot_read(path, "this DICOM object holds no pixels; give an image")
    if "TransferSyntaxUID" not in dataset.file_meta:
        is_implicit, is_little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit
    return dataset


def _decode_frame(dataset: Any, frame: int) -> NDArray[Any]:
    """Pixels of one frame in the modality's units, (H, W), or RGB (H, W, 3)."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    pixels = _native(pixel_array(dataset, index=frame))
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours: NDArray[Any] = apply_color_lut(pixels, dataset)
        if colours.dtype == np.uint16:
            colours = (colours >> 8).astype(np.uint8)
        return colours[..., :3]
    if pixels.ndim == 3:
        return pixels
    if "ModalityLUTSequence" in dataset:
        return np.asarray(apply_modality_lut(pixels, dataset))
    return _rescale(
        pixels,
        _first_number(_frame_value(dataset, frame, "RescaleSlope"), default=1.0),
        _first_number(_frame_value(dataset, frame, "RescaleIntercept"), default=0.0),
    )


def _rescale(pixels: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if slope == 1.0 and intercept == 0.0:
        return pixels
    if slope == 1.0 and intercept.is_integer() and pixels.dtype.itemsize <= 2:
        return pixels.astype(np.int32) + int(intercept)
    return (pixels * np.float64(slope) + intercept).astype(np.float32)


def _invert(
    pixels: NDArray[Any], window: tuple[float, float] | None
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Mirror the values within their own range, so that bright means bright (MONOCHROME1)."""
    total = pixels.min().item() + pixels.max().item()
    wide = np.float64 if pixels.dtype.kind == "f" else np.int64
    mirrored = (total - pixels.astype(wide)).astype(pixels.dtype)
    return mirrored, None if window is None else (total - window[0], window[1])


def _frame_value(dataset: Any, frame: int, keyword: str) -> Any:
    """An attribute of one frame; enhanced objects keep it in nested functional groups."""
    for name, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        groups = dataset.get(name) or []
        for element in groups[index] if index < len(groups) else []:
            if element.VR == "SQ" and element.value and keyword in element.value[0]:
                return element.value[0].get(keyword)
    return dataset.get(keyword)


def _numbers(value: Any) -> tuple[float, ...]:
    """A DICOM value of any multiplicity as finite floats; empty if it is not that."""
    if value is None or isinstance(value, str):
        return ()
    items = value if hasattr(value, "__len__") else [value]
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError):
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _first_number(value: Any, default: float) -> float:
    return next(iter(_numbers(value)), default)


def _dicom_window(dataset: Any, frame: int) -> tuple[float, float] | None:
    centres = _numbers(_frame_value(dataset, frame, "WindowCenter"))
    widths = _numbers(_frame_value(dataset, frame, "WindowWidth"))
    if not centres or not widths or widths[0] <= 0:
        return None
    return centres[0], widths[0]


def _dicom_geometry(dataset: Any, frame: int) -> Geometry | None:
    """None without PixelSpacing; unplaced (origin 0, axes along LPS) without a valid position."""
    in_plane = _numbers(_frame_value(dataset, frame, "PixelSpacing"))
    if len(in_plane) != 2 or min(in_plane) <= 0:
        return None
    spacing = (in_plane[1], in_plane[0], _slice_distance(dataset, frame))
    origin = _frame_origin(dataset, frame)
    direction = _dicom_direction(dataset, frame)
    if origin is None or direction is None:
        return Geometry(spacing, (0.0, 0.0, 0.0), _IDENTITY)
    return Geometry(spacing, origin, tuple(direction.ravel().tolist()))


def _slice_distance(dataset: Any, frame: int) -> float:
    """mm; the distance between slices lets a mask tile the series, thickness is second best."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        distance = _first_number(_frame_value(dataset, frame, keyword), default=0.0)
        if distance > 0:
            return distance
    return 1.0


def _frame_origin(dataset: Any, frame: int) -> tuple[float, float, float] | None:
    position = _numbers(_frame_value(dataset, frame, "ImagePositionPatient"))
    if len(position) != 3:
        return None
    origin = np.asarray(position)
    if frame > 0 and "PerFrameFunctionalGroupsSequence" not in dataset:
        # One position for all frames: only dose grids say where the others lie.
        offsets = _numbers(dataset.get("GridFrameOffsetVector"))
        direction = _dicom_direction(dataset, frame)
        if frame >= len(offsets) or direction is None:
            return None
        origin = origin + direction[:, 2] * (offsets[frame] - offsets[0])
    return float(origin[0]), float(origin[1]), float(origin[2])


def _dicom_direction(dataset: Any, frame: int) -> NDArray[np.float64] | None:
    """3x3 cosines, column n for index axis n; made orthonormal, as headers round to few digits."""
    cosines = _numbers(_frame_value(dataset, frame, "ImageOrientationPatient"))
    if len(cosines) != 6:
        return None
    along_i, along_j = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    if min(np.linalg.norm(along_i), np.linalg.norm(along_j)) < 0.5:
        return None
    along_i = along_i / np.linalg.norm(along_i)
    along_j = along_j / np.linalg.norm(along_j)
    if abs(along_i @ along_j) > 0.01:
        return None
    along_j = along_j - (along_j @ along_i) * along_i
    along_j = along_j / np.linalg.norm(along_j)
    return np.stack([along_i, along_j, np.cross(along_i, along_j)], axis=1)


# --------------------------------------------------------------------------- DICOM folders


def _read_dicom_folder(folder: Path, slice_index: int | None) -> Case:
    """The only DICOM image of a folder, or slice `slice_index` of its only series."""
    headers = _image_headers(folder)
    if not headers:
        raise _cannot_read(folder, "the folder holds no DICOM image; give an image file")
    if len(headers) == 1:
        return _read_dicom(headers[0][0], slice_index)
    if slice_index is None:
        raise _cannot_read(
            folder,
            f"it holds {len(headers)} DICOM files; choose one, "
            f"or use --slice K (0 to {len(headers) - 1})",
        )
    places, files = _order_series(folder, headers)
    case = _read_dicom(files[_choose_slice(folder, len(files), slice_index)], None)
    if case.geometry is None:
        return case
    # Measured between neighbours: a header's thickness says nothing of gaps and overlaps.
    spacing = (*case.geometry.spacing[:2], float(np.median(np.diff(places))))
    return replace(case, geometry=replace(case.geometry, spacing=spacing))


def _image_headers(folder: Path) -> list[tuple[Path, Any]]:
    try:
        files = [entry for entry in sorted(folder.iterdir()) if _looks_like_dicom(entry)]
    except OSError as error:
        raise explain_os_error(error, folder, "read") from None
    return [(file, header) for file in files if (header := _image_header(file)) is not None]


def _looks_like_dicom(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            has_magic = stream.read(132)[128:] == b"DICM"
    except OSError:
        return False
    return has_magic or path.suffix.lower() in DICOM_SUFFIXES


def _image_header(path: Path) -> Any | None:
    """What is needed to sort a series; None if the file is no readable DICOM image."""
    from pydicom import dcmread

    keywords = ["Rows", "SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient"]
    with _quiet_libraries():
        try:
            header = dcmread(path, force=True, stop_before_pixels=True, specific_tags=keywords)
            return header if "Rows" in header else None
        # A damaged neighbour must not keep the user from the file that can be read.
        except Exception:
            return None


def _order_series(folder: Path, headers: list[tuple[Path, Any]]) -> tuple[list[float], list[Path]]:
    """Sort one series along the normal of its slices, as ITK and Slicer order k.

    Returns:
        Places in mm along the normal, ascending, and their files.
    """
    series = {str(header.get("SeriesInstanceUID")) for _, header in headers}
    if len(series) > 1:
        raise _cannot_read(
            folder,
            f"it holds {len(headers)} DICOM files of {len(series)} series; choose one file",
        )
    placed = [
        (place, file)
        for file, header in headers
        if (place := _place_along_normal(header)) is not None
    ]
    if len(placed) < len(headers):
        raise _cannot_read(
            folder, f"its {len(headers)} DICOM files do not say where they lie; choose one file"
        )
    if len({place for place, _ in placed}) < len(placed):
        raise _cannot_read(
            folder,
            "several of its DICOM files lie at the same place (time series?); choose one file",
        )
    placed.sort()
    return [place for place, _ in placed], [file for _, file in placed]


def _place_along_normal(header: Any) -> float | None:
    direction = _dicom_direction(header, 0)
    position = _numbers(header.get("ImagePositionPatient"))
    if direction is None or len(position) != 3:
        return None
    return round(float(direction[:, 2] @ np.asarray(position)), 3)


# --------------------------------------------------------------------------- writing masks


def _write_png_mask(mask: NDArray[np.bool_], path: Path) -> None:
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(path, format="PNG")


def _write_itk_mask(mask: NDArray[np.bool_], geometry: Geometry | None, path: Path) -> None:
    import SimpleITK

    volume = mask.astype(np.uint8)[np.newaxis]
    image = SimpleITK.GetImageFromArray(volume)
    if geometry is not None:
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
    path.touch()  # tells apart what ITK does not: missing folder, no permission, read-only disk
    failure = OSError(
        errno.EIO, "the file came out incomplete, the disk may be full; free some space"
    )
    try:
        with _quiet_libraries(including_stderr=True), _quiet_itk():
            SimpleITK.WriteImage(image, os.fspath(path), useCompression=True)
            # NIfTI's writer reports success on a full disk.
            if _suffix_among(path, NIFTI_SUFFIXES):
                _check_nifti_is_complete(path)
            complete = np.array_equal(
                SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)), volume
            )
    except (RuntimeError, EOFError, ValueError, struct.error, OSError):
        raise failure from None
    if not complete:
        raise failure
