"""Sim4Seg: set an image once, ask it many queries.

Holds what does not change between queries: the LVLM's keys and values of the image prefix, its
image tokens in RVLS2M's space, SAM's image embedding and, once a query needed them, the tiles'.
Knows nothing of Slicer, HTTP or the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .case import (
    Case,
    CheckedClaim,
    Familiarity,
    Finding,
    MaskCandidate,
    ModelIdentity,
    Query,
    Result,
    SampledAnswer,
    Samples,
)
from .device import resolve_device
from .encoded import EncodedImage
from .errors import Sim4SegError
from .frame import Frame
from .intensity import to_rgb8
from .masking import MASK_BEGINS, MASK_ENDS, DrawnMask, MaskDrawer
from .measurements import measure
from .modeling.answer import UNKNOWN_DIAGNOSIS, Answer, named_target
from .modeling.checkpoint import identify, load_model, resolve_folder
from .modeling.familiarity import is_large_enough
from .modeling.generation import AnswerDecoder, Opening
from .modeling.lvlm import VisionOutput
from .modeling.sampling import AnswerSampler, SampledWords
from .modeling.sim4seg import Grounding, Sim4SegModel
from .out_of_memory import is_out_of_memory
from .progress import Progress, Step
from .reasoning.check import check_answer
from .reasoning.naming import diagnosis_meaning
from .report.wording import outside_warning
from .scaling import (
    conclude,
    consensus,
    expected_dice,
    is_decided,
    mean_agreement,
    unite,
    vote,
    with_familiarity,
)
from .scaling_config import ScalingConfig
from .volume import SliceOptions, VolumeCase, VolumeResult

ImageSource = Case | str | Path | NDArray[Any]
UNNAMED_TARGET = "finding"
ANSWER_BEGINS = 0.15
"""Share of a first query's time with the embedded model."""
SAMPLED_TOGETHER = 4


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
            model.config.seg_after_reasoning,
        )
        self._drawer = MaskDrawer(model, lambda: self.progress)
        self._answer_fraction = ANSWER_BEGINS
        self._decoder.between_calls = lambda: self.progress(Step("answer", self._answer_fraction))
        self._image: EncodedImage | None = None
        self.fallback_warning: str | None = None
        """Said once the model had to leave a GPU that was full."""

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
        except RuntimeError as error:
            if not _is_gpu_full(error, place):
                raise
            predictor = cls(model.to("cpu").float(), identify(folder, name), notify)
            predictor._report_fallback()
            return predictor
        return cls(model, identify(folder, name), notify)

    def segment(
        self, image: ImageSource, query: str, scaling: ScalingConfig | None = None
    ) -> Result:
        """`set_image`, then `ask`."""
        checked = Query(query)
        self.set_image(image)
        return self.ask(checked.text, scaling)

    def segment_volume(
        self,
        volume: VolumeCase | str | Path,
        query: str,
        options: SliceOptions | None = None,
        series: int | None = None,
    ) -> VolumeResult:
        """Answer one query about a volume, slice by slice or in three dimensions; see
        `volume.inference`.

        Args:
            series: which one of a DICOM folder, from 1; see `io.read_volume_case`.
        """
        from .volume.inference import segment_volume

        if not isinstance(volume, VolumeCase):
            from .io import read_volume_case

            volume = read_volume_case(volume, series=series)
        return segment_volume(self, volume, query, options)

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

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result:
        """Answer one query about the image that was set.

        Args:
            scaling: how many answers and masks are combined; None as the checkpoint says.

        Raises:
            Sim4SegError: without an image, or if the query is empty or too long.
        """
        checked = Query(query)
        if self._image is None:
            raise Sim4SegError("no image yet; call set_image first")
        wanted = scaling or self.model.config.scaling
        return self._with_fallback(lambda: self._answer(checked, wanted))

    def _with_fallback(self, work: Callable[[], Any]) -> Any:
        """Run on the GPU; without enough memory there, move to the CPU for good and say so."""
        try:
            return work()
        except RuntimeError as error:
            if not _is_gpu_full(error, self.model.device):
                raise
            self.model = self.model.to("cpu").float()
            torch.cuda.empty_cache()
            self._report_fallback()
            if self._image is not None:
                self._image = self._encode(self._image.case)
            return work()

    def _report_fallback(self) -> None:
        self.fallback_warning = "the GPU has not enough free memory; computed on the CPU"
        self._notify(self.fallback_warning)

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
            familiarity=self._familiarity(vision, lvlm_frame, case),
        )

    def _familiarity(self, vision: VisionOutput, frame: Frame, case: Case) -> Familiarity | None:
        judge = self.model.familiarity
        if judge is None or not is_large_enough(frame):
            return None
        return judge.of(self.model.lvlm, vision, [frame], case.apparent_modality)[0]

    @torch.inference_mode()
    def _answer(self, query: Query, scaling: ScalingConfig) -> Result:
        image = self._image
        assert image is not None
        started = time.perf_counter()
        self._answer_fraction = ANSWER_BEGINS
        opening = self._decoder.open(query.text, image.prefix_cache)
        opened = time.perf_counter()
        self.progress(Step("mask", MASK_BEGINS))
        grounding = self._drawer.whole(image, opening.seg_state)
        drawn = self._drawer.draw(
            image, opening.seg_state, grounding, scaling.masks, not query.names_side
        )
        similarity = image.sam_frame.invert(grounding.prompt.similarity_logits.float().cpu())
        masked = time.perf_counter()
        self._answer_fraction = MASK_ENDS
        answers = self._speak(opening, grounding, scaling)
        ended = time.perf_counter()
        calibration = self.model.config.calibration
        ballots = self._ballots(answers)
        fluency = [words.log_probability for words in answers]
        label, probabilities = vote(ballots, fluency, calibration)
        voters = [
            words
            for words, ballot in zip(answers, ballots, strict=True)
            if max(ballot, key=lambda name: ballot[name]) == label
        ]
        spoken = max(voters, key=lambda words: words.log_probability).answer
        target = named_target(spoken) or UNNAMED_TARGET
        presence = calibration.presence(float(grounding.presence_logits[0]), target)
        mask_logits = self._choose(image, drawn, spoken, scaling)
        finding = self._finding(image.case, spoken, presence, mask_logits)
        claims = _checked_claims(image, spoken, finding)
        named = None if label == UNKNOWN_DIAGNOSIS else label
        believed = calibration.believed(probabilities, target)
        if named is not None:  # that none is given rivals no diagnosis
            believed.pop(UNKNOWN_DIAGNOSIS, None)
        diagnosis = conclude(believed, named, calibration)
        return Result(
            case=image.case,
            query=query,
            diagnosis=with_familiarity(diagnosis, image.familiarity),
            reasoning=spoken.reasoning,
            findings=(finding,),
            similarity=similarity[0, 0].sigmoid().numpy(),
            model=self.identity,
            timing={
                "encode": image.encoding_seconds,
                "answer": opened - started + ended - masked,
                "mask": masked - opened,
            },
            warnings=self._warnings(image, finding, spoken, claims),
            claims=claims,
            samples=self._samples(answers, drawn),
            familiarity=image.familiarity,
        )

    def _speak(
        self, opening: Opening, grounding: Grounding, scaling: ScalingConfig
    ) -> list[SampledWords]:
        """The greedy answer first, then sampled ones."""
        diagnosis_logits = grounding.diagnosis_logits[0]
        greedy = self._decoder.complete(opening, diagnosis_logits)
        answers = [
            SampledWords(greedy.answer, greedy.diagnosis_probabilities, greedy.log_probability)
        ]
        sampler = AnswerSampler(self._decoder, scaling.temperature)
        for first in range(1, scaling.samples, SAMPLED_TOGETHER):
            outstanding = scaling.samples - first
            if scaling.stop_early and is_decided(self._ballots(answers), outstanding):
                break
            seeds = [
                f"{scaling.seed}/{number}"
                for number in range(first, min(first + SAMPLED_TOGETHER, scaling.samples))
            ]
            answers += sampler.sample(opening, greedy.trail, seeds, diagnosis_logits)
        return answers

    def _ballots(self, answers: list[SampledWords]) -> list[dict[str, float]]:
        """Label -> probability of each answer; free words for one diagnosis are one label."""
        ballots = [words.diagnosis_probabilities for words in answers]
        return ballots if self._decoder.labels else unite(ballots, diagnosis_meaning)

    def _choose(
        self, image: EncodedImage, drawn: list[DrawnMask], answer: Answer, scaling: ScalingConfig
    ) -> torch.Tensor:
        """Logits (H, W) of the mask that the user gets."""
        if len(drawn) == 1 or scaling.choice == "consensus":
            return consensus([mask.logits for mask in drawn])
        if scaling.choice == "estimated IoU":
            scores = [mask.estimated_iou for mask in drawn]
        elif scaling.choice == "agreement":
            scores = mean_agreement([self._thresholded(mask.logits) for mask in drawn])
        else:
            scores = [-self._contradictions(image, mask, answer) for mask in drawn]
        return drawn[scores.index(max(scores))].logits

    def _thresholded(self, logits: torch.Tensor) -> torch.Tensor:
        return logits > self.model.config.mask_threshold_logit

    def _contradictions(self, image: EncodedImage, drawn: DrawnMask, answer: Answer) -> float:
        finding = self._finding(image.case, answer, 1.0, drawn.logits)
        claims = _checked_claims(image, answer, finding)
        return float(sum(claim.verdict == "contradicted" for claim in claims))

    def _samples(self, answers: list[SampledWords], drawn: list[DrawnMask]) -> Samples:
        if len(answers) == len(drawn) == 1:
            return Samples()
        return Samples(
            tuple(
                SampledAnswer(
                    words.answer.diagnosis_label, words.log_probability, words.answer.reasoning
                )
                for words in answers
            ),
            tuple(
                MaskCandidate(mask.name, self._thresholded(mask.logits).numpy(), mask.estimated_iou)
                for mask in drawn
            ),
        )

    def _finding(
        self, case: Case, answer: Answer, presence: float, mask_logits: torch.Tensor
    ) -> Finding:
        config = self.model.config
        mask = np.zeros(case.size, dtype=bool)
        if presence >= config.presence_threshold:
            mask = self._thresholded(mask_logits).numpy()
        return Finding(
            label=named_target(answer) or UNNAMED_TARGET,
            present=bool(mask.any()),
            confidence=presence,
            mask=mask,
            measurements=measure(mask, case),
            mask_confidence=expected_dice(mask_logits, torch.from_numpy(mask), config.calibration),
        )

    def _warnings(
        self,
        image: EncodedImage,
        finding: Finding,
        answer: Answer,
        claims: tuple[CheckedClaim, ...],
    ) -> tuple[str, ...]:
        warnings = [] if self.fallback_warning is None else [self.fallback_warning]
        if image.familiarity is not None and image.familiarity.is_outside:
            warnings.insert(0, outside_warning(image.familiarity))
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


def _is_gpu_full(error: RuntimeError, device: torch.device) -> bool:
    """Whether the CPU would have room for what failed on this device."""
    on_gpu = device.type != "cpu" or isinstance(error, torch.cuda.OutOfMemoryError)
    return on_gpu and is_out_of_memory(error)


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


def _to_case(image: ImageSource) -> Case:
    if isinstance(image, Case):
        return image
    if isinstance(image, str | Path):
        from .io import read_case

        return read_case(image)
    return Case(np.asarray(image))
