"""Files in, files out: an image becomes a Case, a volume a VolumeCase, masks go back in their
geometry.

Every format's trouble ends here, as one sentence in a Sim4SegError. Messages name the file and
never what is inside it, since DICOM headers identify patients. Knows nothing of models.

Importing the package is cheap: PIL, SimpleITK and pydicom are loaded with the first file of theirs.
"""

from .problems import explain_os_error, quoted
from .reading import read_case
from .volumes import read_volume_case
from .writing import write_mask, write_volume_mask

__all__ = [
    "explain_os_error",
    "quoted",
    "read_case",
    "read_volume_case",
    "write_mask",
    "write_volume_mask",
]
