"""What tests of batches share."""

import csv
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def draw(path, seed, size=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def draw_volume(path, seed, voxels=None):
    """Of 1 x 1.5 x 4 mm; noise, unless it is given."""
    if voxels is None:
        voxels = np.random.default_rng(seed).integers(0, 999, (4, 12, 10)).astype(np.int16)
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((1.0, 1.5, 4.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


def write_dicom(path, series, place=None, sop_class="1.2.840.10008.5.1.4.1.1.4"):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = series
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Doe^Jane", "ID4711", "MR"
    if sop_class.endswith(".4"):
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 16, 16, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        pixels = np.random.default_rng(len(str(path))).integers(0, 999, (16, 16), np.uint16)
        dataset.PixelData = pixels.tobytes()
    if place is not None:
        dataset.PixelSpacing = [1, 1]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [0, 0, place]
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def read_table(out, name="results.csv"):
    with (Path(out) / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
