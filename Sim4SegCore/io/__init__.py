"""Files in, files out: one 2D image becomes a Case, one mask goes back in the Case's geometry.

Every format's trouble ends here, as one sentence in a Sim4SegError. Messages name the file and
never what is inside it, since DICOM headers identify patients. Knows nothing of models.

Importing the package is cheap: PIL, SimpleITK and pydicom are loaded with the first file of theirs.
"""

from .problems import explain_os_error, quoted
from .reading import read_case
from .writing import write_mask

__all__ = ["explain_os_error", "quoted", "read_case", "write_mask"]
