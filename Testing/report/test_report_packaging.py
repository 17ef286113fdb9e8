"""What an installation needs and readers must refuse."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.io import read_case
from Sim4SegCore.report.terminology import TERMINOLOGY_FILE

ROOT = Path(__file__).resolve().parents[2]


def test_the_terminology_file_is_packaged() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert '"Sim4SegCore.terminology" = "Resources/terminology"' in text
    assert '"Sim4SegCore.terminology" = ["*.json"]' in text
    assert (ROOT / "Resources/terminology" / TERMINOLOGY_FILE).is_file()


def test_a_nifti_without_spacing_is_refused_rather_than_measured(tmp_path: Path) -> None:
    path = tmp_path / "zero.nii"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ones((1, 20, 30), np.int16)), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into("<2f", content, 80, 0.0, 0.5)
    path.write_bytes(content)
    with pytest.raises(Sim4SegError, match="pixel spacing is 0; correct the header"):
        read_case(path)
