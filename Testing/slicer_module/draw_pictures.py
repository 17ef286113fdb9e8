"""Draws the README's pictures of the Slicer module: the panel, and answers on their image.

python Testing/slicer_module/draw_pictures.py

Everything in them is real but the window around it: the widgets of the .ui, a MRML scene, the local
service and the embedded model, asked about scikit-image's CC0 fundus photograph.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "Sim4SegSlicer", Path(__file__).parent):
    sys.path.insert(0, str(folder))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import slicer_qt  # noqa: E402
from mrml_scene import Scene, affine, modules_of, slicer  # noqa: E402
from opened_panel import Opened  # noqa: E402
from PIL import Image  # noqa: E402
from skimage.data import retina  # noqa: E402

slicer_qt.with_properties(__name__)

QUERY = "Segment the retinal vessels. Does the eye look healthy?"
PICTURES = ROOT / "Resources" / "screenshots"
REGION = (0.25, 0.05, 0.5, 0.5)
"""First row, first column, rows and columns, over those of the photograph."""
WIDTH = 440
SHRINK = 2
LPS = np.diag([-1.0, -1.0, 1.0])


def load(opened):
    """The photograph, at half its size."""
    pixels = Image.fromarray(retina())
    small = pixels.resize([side // SHRINK for side in pixels.size], Image.Resampling.BOX)
    volume = opened.scene.volume(np.asarray(small)[np.newaxis], affine(directions=LPS), "retina")
    opened.parameters.inputVolume = volume
    opened.ui.opacitySlider.value = 50.0
    # The first query waits for the service and the model.
    ask(opened, "Does the eye look healthy?")
    return volume


def ask(opened, query):
    opened.ask(query)
    opened.until_over()


def draw_region(opened, volume):
    """The same question about a part of the photograph, without what a point leaves out."""
    drawn = opened.scene.mrml.AddNode(slicer.vtkMRMLMarkupsROINode())
    rows, columns = volume.GetImageData().GetDimensions()[1::-1]
    first, sides = np.array(REGION[:2]), np.array(REGION[2:])
    row, column = (first + sides / 2) * (rows, columns)
    drawn.SetCenter(-column, -row, 0.0)
    drawn.SetSize(sides[1] * columns, sides[0] * rows, 20.0)
    opened.parameters.regionOfInterest = drawn
    ask(opened, QUERY)
    from Sim4SegLib import exporting, outcome, reports

    report = opened.parameters.shownReport
    (seen,) = outcome.outcomes_of(outcome.reading_of(report))
    crop = reports.plane_of(report).crop
    picture = slicer.util.arrayFromVolume(volume)[0] // 3
    inside = exporting.draw(seen)
    factor = inside.shape[0] // crop.rows
    picture = picture.repeat(factor, 0).repeat(factor, 1)
    top, left = crop.first_row * factor, crop.first_column * factor
    picture[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    made = Image.fromarray(picture)
    made.thumbnail((700, 700), Image.Resampling.LANCZOS)
    made.save(PICTURES / "slicer_region.png")


def draw_panel(opened):
    root = opened.ui.Sim4Seg
    opened.ui.advancedCollapsibleButton.collapsed = False
    opened.ui.whereCollapsibleButton.collapsed = False
    opened.ui.reportBrowser.minimumHeight = 520
    root.show()
    # Once for the sections that have opened, once for the room that they need.
    for height in (1600, 1500):
        root.resize(WIDTH, height)
        slicer_qt.application.processEvents()
    root.grab().save(str(PICTURES / "slicer_panel.png"))


def draw_answer(opened):
    """Mask and similarity map, side by side on the image."""
    from Sim4SegLib import exporting, outcome, reports

    report = opened.parameters.shownReport
    (seen,) = outcome.outcomes_of(outcome.reading_of(report))
    similarity = slicer.util.arrayFromVolume(report.GetNodeReference(reports.SIMILARITY_ROLE))[0]
    bright = similarity / similarity.max()
    colours = matplotlib.colormaps["inferno"](bright)[..., :3]
    overlaid = 0.35 * seen.pixels + 0.65 * 255 * colours
    both = np.concatenate([exporting.draw(seen), np.rint(overlaid).astype(np.uint8)], axis=1)
    picture = Image.fromarray(both)
    picture.resize([side * 3 // 4 for side in picture.size], Image.Resampling.LANCZOS).save(
        PICTURES / "slicer_answer.png"
    )


if __name__ == "__main__":
    scene = Scene()
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(slicer, "mrmlScene", scene.mrml, raising=False)
        patches.setattr(slicer, "modules", modules_of(scene), raising=False)
        slicer_qt.install(patches, scene, Path(tempfile.mkdtemp()))
        opened = Opened(patches, scene, is_answered_really=True)
        try:
            photograph = load(opened)
            opened.ui.samplesSpinBox.value, opened.ui.masksSpinBox.value = 4, 2
            opened.ui.votesCheckBox.checked = True
            ask(opened, QUERY)
            draw_panel(opened)
            draw_answer(opened)
            draw_region(opened, photograph)
        finally:
            opened.widget.cleanup()
