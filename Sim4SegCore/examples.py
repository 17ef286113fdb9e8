"""Images for a first try, made on the spot: nothing is downloaded or copied from anyone's data.

python -m Sim4SegCore.examples retina FOLDER     the CC0 fundus photograph of scikit-image
python -m Sim4SegCore.examples phantom FOLDER    a drawn skin lesion and its known mask
python -m Sim4SegCore.examples score MASK TRUTH  Dice of two mask images
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import Sim4SegError

PHANTOM_SIZE = (300, 400)


def write_retina(folder: Path) -> Path:
    """Write `retina.png`, 1411 x 1411, from scikit-image's wheel."""
    try:
        from skimage.data import retina
    except ImportError:
        raise Sim4SegError(
            "the fundus photograph needs scikit-image: pip install 'sim4seg[demo]'"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "retina.png"
    Image.fromarray(retina()).save(path)
    return path


def draw_phantom(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A skin-coloured image with one dark, uneven lesion.

    Returns:
        image uint8 (H, W, 3) and the lesion's mask bool (H, W).
    """
    rng = np.random.default_rng(seed)
    height, width = PHANTOM_SIZE
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    dy, dx = rows - 0.52 * height, columns - 0.46 * width
    angle = np.arctan2(dy, dx)
    wave = 1 + 0.08 * np.sin(3 * angle + 0.7) + 0.05 * np.sin(5 * angle)
    radius = np.hypot(dy / 0.8, dx) / wave
    mask = radius < 72
    edge = 1 / (1 + np.exp((radius - 72) / 3))
    skin = np.array([226, 178, 150], np.float32)
    lesion = np.array([112, 66, 46], np.float32)
    image = skin + edge[..., None] * (lesion - skin)
    shade = 14 * np.cos(rows / 90) * np.cos(columns / 120)
    texture = _smooth_noise(rng, height, width) * (6 + 16 * edge)
    image += (shade + texture + rng.normal(0, 3, (height, width)))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _smooth_noise(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    coarse = Image.fromarray(rng.normal(size=(height // 8, width // 8)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def write_phantom(folder: Path) -> Path:
    """Write `phantom.png` and `phantom_mask.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    image, mask = draw_phantom()
    Image.fromarray(image).save(folder / "phantom.png")
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "phantom_mask.png")
    return folder / "phantom.png"


def dice(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Dice overlap of two masks of one shape; 1 if both are empty."""
    total = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / total if total else 1.0


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    match arguments:
        case ["retina", folder]:
            print(write_retina(Path(folder)))
        case ["phantom", folder]:
            print(write_phantom(Path(folder)))
        case ["score", mask, truth]:
            first, second = (np.asarray(Image.open(p).convert("L")) > 127 for p in (mask, truth))
            if first.shape != second.shape:
                print(f"{mask} and {truth} differ in size", file=sys.stderr)
                return 2
            print(f"Dice {dice(first, second):.3f}")
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
