"""Which file names stand for which format, in lower case."""

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
METAIMAGE_SUFFIXES = (".mha", ".mhd")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
VOLUME_MASK_SUFFIXES = (".nii", ".nii.gz", ".nrrd")
MASK_SUFFIXES = (".png", ".nii", ".nii.gz", ".nrrd")

SUPPORTED = "PNG, JPEG, TIFF, BMP, DICOM, NIfTI (.nii, .nii.gz), NRRD or MetaImage (.mha, .mhd)"
