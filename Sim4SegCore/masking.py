"""From the [SEG] state to masks of an image: one, or several that look at it differently.

[SEG] is said before the reasoning, so its state is the same in every sampled answer, and RVLS2M's
other reading is no candidate, since SAM was not taught it: what varies between masks is how SAM
sees the image and what it proposes. It sees the image as it is and mirrored, unless the query
names a side, which would then be the other one; its own proposals follow, which are drawn anyway,
then views from near, where the first mask lies. Thin targets are segmented in tiles, which see
them from near already, and are drawn once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .encoded import EncodedImage, Tiles
from .frame import Frame
from .modeling.image_embedding import ImageEmbedding
from .modeling.precision import fast_precision
from .modeling.sim4seg import Drawing, FramePair, Grounding, Sim4SegModel
from .progress import Progress, Step
from .tiling import blend, tile_frames

TILE_BATCH = 8
# Shares of a first query's time with the embedded model, thin targets in tiles.
MASK_BEGINS, TILES_END, MASK_ENDS = 0.2, 0.6, 0.9
ZOOM_MARGIN = 0.35
"""Added around the first mask on each side, as a fraction of its longest extent."""
ZOOM_SMALLEST, ZOOM_LARGEST = 0.25, 0.8
"""Sides of a zoomed window over the image's longest; larger ones show nothing new."""
PROPOSALS = ("SAM's first proposal", "SAM's second proposal", "SAM's third proposal")


@dataclass
class DrawnMask:
    """One way of drawing the target.

    Attributes:
        logits: float32 (H, W) in the image's pixels.
        estimated_iou: by SAM's decoder.
    """

    name: str
    logits: Tensor
    estimated_iou: float


class MaskDrawer:
    """Draws masks of encoded images."""

    def __init__(self, model: Sim4SegModel, progress: Callable[[], Progress]) -> None:
        """
        Args:
            progress: gives the listener of the moment.
        """
        self.model = model
        self._progress = progress

    def whole(self, image: EncodedImage, seg_state: Tensor) -> Grounding:
        """The target in the whole image as it is, and whether it is there."""
        pair = self._pair(image, [image.sam_frame])
        return self.model.ground(
            seg_state.expand(1, -1), image.image_tokens, image.image_embedding, pair
        )

    def _pair(self, image: EncodedImage, frames: Sequence[Frame]) -> FramePair:
        pair = FramePair.of(
            [image.lvlm_frame] * len(frames),
            list(frames),
            image.token_grid,
            self.model.config.segmenter.prompt_size,
        )
        return pair.to(self.model.device)

    def _drawing(
        self,
        image: EncodedImage,
        seg_state: Tensor,
        similarity: Tensor,
        frames: Sequence[Frame],
        embeddings: ImageEmbedding,
    ) -> Drawing:
        """Draw the target in several frames of SAM's at once; similarity (1, gh, gw)."""
        count = len(frames)
        return self.model.draw(
            seg_state.expand(count, -1),
            similarity.expand(count, -1, -1),
            embeddings,
            self._pair(image, frames),
        )

    def draw(
        self,
        image: EncodedImage,
        seg_state: Tensor,
        grounding: Grounding,
        count: int,
        mirroring: bool,
    ) -> list[DrawnMask]:
        """Up to `count` masks, the plain one first.

        Args:
            grounding: of `whole`.
            mirroring: whether the target is the same one in a mirror.
        """
        plain = self._own(image, grounding, 0, "as it is")
        if self.model.config.detail.side > 0 and grounding.detail_logits[0] > 0:
            tiled = self._tiled(image, seg_state, grounding.similarity, plain.logits)
            return [DrawnMask("in tiles", tiled, plain.estimated_iou)]
        if count == 1:
            return [plain]
        proposals = []
        if count > 1 + mirroring:
            proposals = [
                self._own(image, grounding, 1 + number, name)
                for number, name in enumerate(PROPOSALS[: grounding.iou.shape[1] - 1])
            ]
            proposals.sort(key=lambda mask: -mask.estimated_iou)
        views = {"mirrored": image.sam_frame.mirror(columns=True)} if mirroring else {}
        mirrors = len(views)
        if count > 1 + mirrors + len(proposals):
            views |= self._near(image, plain.logits, mirroring)
        drawn = (
            self._views(image, seg_state, grounding.similarity, views, plain.logits)
            if views
            else []
        )
        return [plain, *drawn[:mirrors], *proposals, *drawn[mirrors:]][:count]

    @staticmethod
    def _own(image: EncodedImage, grounding: Grounding, number: int, name: str) -> DrawnMask:
        """One of the masks of `whole`, in the image's pixels."""
        chosen = grounding.mask_logits[:1, number, None].float().cpu()
        logits = image.sam_frame.invert(chosen)[0, 0]
        return DrawnMask(name, logits, float(grounding.iou[0, number]))

    def _views(
        self,
        image: EncodedImage,
        seg_state: Tensor,
        similarity: Tensor,
        views: dict[str, Frame],
        plain: Tensor,
    ) -> list[DrawnMask]:
        """Masks in other frames; beyond a frame's window the plain logits stay."""
        frames = list(views.values())
        embeddings = self._embedding(image, frames)
        with fast_precision(self.model.rvls2m.scale):
            drawing = self._drawing(image, seg_state, similarity, frames, embeddings)
        masks = []
        for row, (name, frame) in enumerate(views.items()):
            top, left, height, width = frame.window
            logits = plain.clone()
            seen = frame.invert(drawing.mask_logits[row : row + 1, :1].float().cpu())[0, 0]
            logits[top : top + height, left : left + width] = seen
            masks.append(DrawnMask(name, logits, float(drawing.iou[row, 0])))
        return masks

    def _embedding(self, image: EncodedImage, frames: Sequence[Frame]) -> ImageEmbedding:
        missing = [frame for frame in frames if frame not in image.views]
        if missing:
            new = self._encode(image, missing)
            for row, frame in enumerate(missing):
                image.keep_view(frame, new.rows(slice(row, row + 1)))
        return ImageEmbedding.stack([image.views[frame] for frame in frames])

    def _encode(self, image: EncodedImage, frames: Sequence[Frame]) -> ImageEmbedding:
        pixels = torch.stack([frame.apply(image.pixels) for frame in frames])
        content = torch.tensor([frame.content for frame in frames])
        return self.model.sam_embedding(pixels.to(self.model.device), None, content)

    def _near(self, image: EncodedImage, plain: Tensor, mirroring: bool) -> dict[str, Frame]:
        """Square windows around what was drawn; none where they would show nothing new."""
        drawn = plain > self.model.config.mask_threshold_logit
        rows, columns = drawn.any(1).nonzero()[:, 0], drawn.any(0).nonzero()[:, 0]
        if not len(rows):
            return {}
        spans = [(int(axis[0]), int(axis[-1]) + 1) for axis in (rows, columns)]
        extent = max(end - begin for begin, end in spans)
        longest = max(image.case.size)
        side = max(extent * (1 + 2 * ZOOM_MARGIN), ZOOM_SMALLEST * longest)
        if side > ZOOM_LARGEST * longest:
            return {}
        (top, height), (left, width) = (
            _centred(begin, end, round(side), edge)
            for (begin, end), edge in zip(spans, image.case.size, strict=True)
        )
        frame = Frame.of_window((top, left, height, width), image.sam_frame.side)
        views = {"zoomed": frame}
        return views | {"zoomed and mirrored": frame.mirror(columns=True)} if mirroring else views

    def _tiled(
        self, image: EncodedImage, seg_state: Tensor, similarity: Tensor, coarse: Tensor
    ) -> Tensor:
        drawn = coarse > self.model.config.mask_threshold_logit
        self._progress()(Step("mask", MASK_BEGINS, drawn.numpy()))
        if image.tiles is None:
            image.tiles = self._encode_tiles(image)
        logits = self._drawn_tiles(image, image.tiles, seg_state, similarity)
        return blend(image.tiles.frames, logits, image.case.size)

    def _drawn_tiles(
        self, image: EncodedImage, tiles: Tiles, seg_state: Tensor, similarity: Tensor
    ) -> Tensor:
        """(tiles, 1, P, P) logits, in half precision where that is faster: embeddings, which are
        computed once for all queries, are not."""
        logits = []
        with fast_precision(self.model.rvls2m.scale):
            for index, embeddings in enumerate(tiles.embeddings):
                done = _share(TILES_END, MASK_ENDS, index, len(tiles.embeddings))
                self._progress()(Step("mask", done))
                frames = tiles.frames[index * TILE_BATCH : (index + 1) * TILE_BATCH]
                drawing = self._drawing(image, seg_state, similarity, frames, embeddings)
                logits.append(drawing.mask_logits[:, :1])
        return torch.cat(logits)

    def _encode_tiles(self, image: EncodedImage) -> Tiles:
        config = self.model.config
        frames = tile_frames(
            image.case.size, config.detail.side, config.segmenter.image_size, config.detail.overlap
        )
        embeddings = []
        for start in range(0, len(frames), TILE_BATCH):
            self._progress()(Step("mask", _share(MASK_BEGINS, TILES_END, start, len(frames))))
            embeddings.append(self._encode(image, frames[start : start + TILE_BATCH]))
        return Tiles(frames, embeddings)


def _share(begin: float, end: float, done: int, count: int) -> float:
    return begin + (end - begin) * done / count


def _centred(begin: int, end: int, length: int, edge: int) -> tuple[int, int]:
    """Start and length of a stretch around begin..end that stays within 0..edge."""
    length = min(length, edge)
    return min(max((begin + end - length) // 2, 0), edge - length), length
