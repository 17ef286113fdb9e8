"""Sim4Seg: set an image once, ask it many queries.

Holds what does not change between queries: the LVLM's keys and values of the image prefix, its
image tokens in RVLS2M's space, SAM's image embedding and, once a query needed them, the tiles'.
Knows nothing of Slicer, HTTP or the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .case import Case, CheckedClaim, Diagnosis, Finding, ModelIdentity, Query, Result
from .device import resolve_device
from .errors import Sim4SegError
from .frame import Frame
from .intensity import to_rgb8
from .measurements import measure
from .modeling.answer import Answer, named_target
from .modeling.checkpoint import identify, load_model, resolve_folder
from .modeling.generation import AnswerDecoder, Generated
from .modeling.segmenter import ImageEmbedding
from .modeling.sim4seg import FramePair, Grounding, ImageTokens, Sim4SegModel
from .progress import Progress, Step
from .reasoning.check import check_answer
from .tiling import blend, tile_frames

ImageSource = Case | str | Path | NDArray[Any]
TILE_BATCH = 8
UNNAMED_TARGET = "finding"
# Shares of a first query's time with the embedded model, thin targets in tiles.
ANSWER_BEGINS, MASK_BEGINS, TILES_END, WORDS_BEGIN = 0.15, 0.2, 0.6, 0.9


@dataclass
class _Tiles:
    frames: list[Frame]
    embeddings: list[ImageEmbedding]


@dataclass
class EncodedImage:
    """What `set_image` computed, and the tiles that a later query added."""

    case: Case
    pixels: Tensor
    lvlm_image: Tensor
    lvlm_frame: Frame
    sam_frame: Frame
    token_grid: int
    prefix_cache: Any
    image_tokens: ImageTokens
    image_embedding: ImageEmbedding
    encoding_seconds: float
    tiles: _Tiles | None = field(default=None)


class Sim4Seg:
    """The predictor.

    model = Sim4Seg.from_pretrained()
    model.set_image("retina.png")
    model.ask("Segment the retinal vessels. Does the eye look healthy?").diagnosis
    """

    def __init__(
        self,
        model: Sim4SegModel,
        identity: ModelIdentity,
        notify: Callable[[str], None] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            model: on its device, in evaluation mode.
            identity: goes into every result.
            notify: called with one sentence when something the user should know happens,
                such as falling back to the CPU.
            progress: called between the steps of a query; may raise to end it. Can be
                replaced between queries.
        """
        self.model = model
        self.identity = identity
        self._notify = notify or (lambda sentence: None)
        self.progress: Progress = progress or (lambda step: None)
        self._decoder = AnswerDecoder(
            model.lvlm,
            model.config.diagnoses,
            model.config.chain_of_thought,
            model.config.diagnosis_head_weight,
        )
        self._answer_fraction = ANSWER_BEGINS
        self._decoder.between_calls = lambda: self.progress(Step("answer", self._answer_fraction))
        self._image: EncodedImage | None = None
        self._fallback_warning: str | None = None

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        device: str = "auto",
        notify: Callable[[str], None] | None = None,
    ) -> Sim4Seg:
        """Load a checkpoint.

        Args:
            source: a folder or hub id; None is the embedded checkpoint.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. GPUs compute in half precision.
            notify: see `__init__`.

        Raises:
            Sim4SegError: if there is no such model or device, or the checkpoint is damaged.
        """
        place = resolve_device(device)
        folder = resolve_folder(source)
        name = "sim4seg-embedded" if source is None else Path(source).name
        model = load_model(folder, torch.float16 if place.type == "cuda" else torch.float32)
        try:
            model = model.to(place)
        except torch.cuda.OutOfMemoryError:
            predictor = cls(model.float().to("cpu"), identify(folder, name), notify)
            predictor._report_fallback()
            return predictor
        return cls(model, identify(folder, name), notify)

    def segment(self, image: ImageSource, query: str) -> Result:
        """`set_image`, then `ask`."""
        checked = Query(query)
        self.set_image(image)
        return self.ask(checked.text)

    def set_image(self, image: ImageSource) -> None:
        """Read and encode an image; queries that follow share the work.

        Args:
            image: a file, a Case, or an array (H, W) or (H, W, 3).

        Raises:
            Sim4SegError: if the image cannot be read or used.
        """
        case = _to_case(image)
        self._image = self._with_fallback(lambda: self._encode(case))

    @property
    def encoded(self) -> EncodedImage | None:
        """What was computed for the image that is set; give it back later to return to it."""
        return self._image

    @encoded.setter
    def encoded(self, image: EncodedImage | None) -> None:
        self._image = image

    def ask(self, query: str) -> Result:
        """Answer one query about the image that was set.

        Raises:
            Sim4SegError: without an image, or if the query is empty or too long.
        """
        checked = Query(query)
        if self._image is None:
            raise Sim4SegError("no image yet; call set_image first")
        return self._with_fallback(lambda: self._answer(checked))

    def _with_fallback(self, work: Callable[[], Any]) -> Any:
        """Run on the GPU; without enough memory there, move to the CPU for good and say so."""
        try:
            return work()
        except torch.cuda.OutOfMemoryError:
            self.model = self.model.float().to("cpu")
            torch.cuda.empty_cache()
            self._report_fallback()
            if self._image is not None:
                self._image = self._encode(self._image.case)
            return work()

    def _report_fallback(self) -> None:
        self._fallback_warning = "the GPU has not enough free memory; computed on the CPU"
        self._notify(self._fallback_warning)

    @torch.inference_mode()
    def _encode(self, case: Case) -> EncodedImage:
        started = time.perf_counter()
        self.progress(Step("encode", 0.0))
        model, config = self.model, self.model.config
        pixels = torch.from_numpy(to_rgb8(case).copy()).permute(2, 0, 1)
        lvlm_frame = Frame.longest_side(case.size, config.lvlm.image_size)
        sam_frame = Frame.longest_side(case.size, config.segmenter.image_size)
        lvlm_image = lvlm_frame.apply(pixels)
        vision = model.lvlm.see(lvlm_image[None].to(model.device))
        prefix = torch.tensor([model.lvlm.prefix_ids(vision)], device=model.device)
        states, cache = model.lvlm.hidden_states(prefix, vision, use_cache=True)
        shared = config.segmenter.encoder == "shared" and sam_frame == lvlm_frame
        sam_pixels = None if shared else sam_frame.apply(pixels)[None].to(model.device)
        return EncodedImage(
            case=case,
            pixels=pixels,
            lvlm_image=lvlm_image,
            lvlm_frame=lvlm_frame,
            sam_frame=sam_frame,
            token_grid=vision.token_grid[0],
            prefix_cache=cache,
            image_tokens=model.image_tokens(vision, states[:, -vision.token_count :]),
            image_embedding=model.sam_embedding(
                sam_pixels, vision, torch.tensor([sam_frame.content])
            ),
            encoding_seconds=time.perf_counter() - started,
        )

    @torch.inference_mode()
    def _answer(self, query: Query) -> Result:
        image = self._image
        assert image is not None
        started = time.perf_counter()
        self._answer_fraction = ANSWER_BEGINS
        opening = self._decoder.open(query.text, image.prefix_cache)
        opened = time.perf_counter()
        self.progress(Step("mask", MASK_BEGINS))
        seg_state = opening.seg_state
        grounding = self._ground(image, seg_state, [image.sam_frame], image.image_embedding)
        mask_logits = self._mask_logits(image, seg_state, grounding)
        similarity = image.sam_frame.invert(grounding.prompt.similarity_logits.float().cpu())
        masked = time.perf_counter()
        self._answer_fraction = WORDS_BEGIN
        generated = self._decoder.complete(opening, grounding.diagnosis_logits[0])
        ended = time.perf_counter()
        finding = self._finding(image.case, generated.answer, grounding, mask_logits)
        claims = _checked_claims(image, generated.answer, finding)
        timing = {
            "encode": image.encoding_seconds,
            "answer": opened - started + ended - masked,
            "mask": masked - opened,
        }
        return Result(
            case=image.case,
            query=query,
            diagnosis=_diagnosis(generated),
            reasoning=generated.answer.reasoning,
            findings=(finding,),
            similarity=similarity[0, 0].sigmoid().numpy(),
            model=self.identity,
            timing=timing,
            warnings=self._warnings(finding, generated.answer, claims),
            claims=claims,
        )

    def _ground(
        self,
        image: EncodedImage,
        seg_state: Tensor,
        frames: list[Frame],
        embeddings: ImageEmbedding,
    ) -> Grounding:
        count = len(frames)
        pair = FramePair.of(
            [image.lvlm_frame] * count,
            frames,
            image.token_grid,
            self.model.config.segmenter.prompt_size,
        )
        return self.model.ground(
            seg_state.expand(count, -1),
            image.image_tokens.expand(count),
            embeddings,
            pair.to(self.model.device),
        )

    def _mask_logits(self, image: EncodedImage, seg_state: Tensor, grounding: Grounding) -> Tensor:
        """Single-mask logits, float32 (H, W) on the image's pixels."""
        wants_tiles = self.model.config.detail.side > 0 and grounding.detail_logits[0] > 0
        if not wants_tiles:
            return image.sam_frame.invert(grounding.mask_logits[:, :1].float().cpu())[0, 0]
        coarse = image.sam_frame.invert(grounding.mask_logits[:, :1].float().cpu())[0, 0]
        threshold = self.model.config.mask_threshold
        self.progress(Step("mask", MASK_BEGINS, (coarse.sigmoid() > threshold).numpy()))
        if image.tiles is None:
            image.tiles = self._encode_tiles(image)
        tiles = image.tiles
        logits = []
        for index, embeddings in enumerate(tiles.embeddings):
            self.progress(
                Step("mask", _share(TILES_END, WORDS_BEGIN, index, len(tiles.embeddings)))
            )
            frames = tiles.frames[index * TILE_BATCH : (index + 1) * TILE_BATCH]
            logits.append(self._ground(image, seg_state, frames, embeddings).mask_logits[:, :1])
        return blend(tiles.frames, torch.cat(logits), image.case.size)

    def _encode_tiles(self, image: EncodedImage) -> _Tiles:
        config = self.model.config
        frames = tile_frames(
            image.case.size, config.detail.side, config.segmenter.image_size, config.detail.overlap
        )
        embeddings = []
        for start in range(0, len(frames), TILE_BATCH):
            self.progress(Step("mask", _share(MASK_BEGINS, TILES_END, start, len(frames))))
            batch = frames[start : start + TILE_BATCH]
            pixels = torch.stack([frame.apply(image.pixels) for frame in batch])
            content = torch.tensor([frame.content for frame in batch])
            embeddings.append(self.model.sam_embedding(pixels.to(self.model.device), None, content))
        return _Tiles(frames, embeddings)

    def _finding(
        self, case: Case, answer: Answer, grounding: Grounding, mask_logits: Tensor
    ) -> Finding:
        presence = float(grounding.presence_logits[0].sigmoid())
        config = self.model.config
        mask = np.zeros(case.size, dtype=bool)
        if presence >= config.presence_threshold:
            mask = (mask_logits.sigmoid() > config.mask_threshold).numpy()
        return Finding(
            label=named_target(answer) or UNNAMED_TARGET,
            present=bool(mask.any()),
            confidence=presence,
            mask=mask,
            measurements=measure(mask, case),
        )

    def _warnings(
        self, finding: Finding, answer: Answer, claims: tuple[CheckedClaim, ...]
    ) -> tuple[str, ...]:
        warnings = [] if self._fallback_warning is None else [self._fallback_warning]
        if not answer.chain_of_thought:
            return tuple(warnings)
        says_absent = answer.analysis.strip().startswith("no ")
        if says_absent and finding.present:
            warnings.append("the reasoning says that nothing is visible, but a mask was found")
        if not says_absent and not finding.present:
            warnings.append("the reasoning speaks of a finding, but no mask was found")
        refuted = [c for c in claims if c.verdict == "contradicted" and c.kind != "presence"]
        if refuted:
            reasons = "; ".join(claim.measured for claim in refuted)
            warnings.append(f"the reasoning disagrees with what was measured: {reasons}")
        return tuple(warnings)


def _checked_claims(
    image: EncodedImage, answer: Answer, finding: Finding
) -> tuple[CheckedClaim, ...]:
    """Claims checked on the pixels that the language model saw, as it was taught to speak of."""
    frame = image.lvlm_frame
    rows, columns = frame.content
    mask = torch.from_numpy(finding.mask).to(torch.uint8)[None] * 255
    seen = frame.apply(mask)[0, :rows, :columns] > 127
    pixels = image.lvlm_image[:, :rows, :columns].permute(1, 2, 0)
    if finding.present and not seen.any():  # too small for the model's eyes
        seen, pixels = mask[0] > 0, image.pixels.permute(1, 2, 0)
    return check_answer(answer, finding.label, seen.numpy(), pixels.numpy(), image.case.modality)


def _share(begin: float, end: float, done: int, count: int) -> float:
    return begin + (end - begin) * done / count


def _diagnosis(generated: Generated) -> Diagnosis:
    ranked = list(generated.diagnosis_probabilities.items())
    return Diagnosis(
        label=generated.answer.diagnosis_label,
        confidence=ranked[0][1],
        alternatives=tuple(ranked[1:4]),
    )


def _to_case(image: ImageSource) -> Case:
    if isinstance(image, Case):
        return image
    if isinstance(image, str | Path):
        from .io import read_case

        return read_case(image)
    return Case(np.asarray(image))
