"""Every slice of one plane read first, then drawn as it is and mirrored, if the target is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..frame import Frame
from ..progress import StopAndKeepError
from .anchors import AnchoredReadings, anchor_numbers
from .consistency import LOUDEST, smooth_along_stack
from .looking import SliceLooker


@dataclass
class CloseLook:
    """What was seen on the slices of a view.

    Attributes:
        presence: float32 (N,) probabilities, between anchors interpolated; 0 where nothing was
            looked at.
        logits: float16 (N, H, W) on the slices' own pixels, none beyond LOUDEST; -LOUDEST where
            nothing was drawn.
        seen: numbers of the slices whose presence is known, ascending.
        anchors: numbers of those that the LVLM read.
        is_seen: whether some slice shows the target.
        was_stopped: the listener ended it early.
    """

    presence: Tensor
    logits: Tensor
    seen: list[int]
    anchors: list[int]
    is_seen: bool = False
    was_stopped: bool = False


class CloseLooker(SliceLooker):
    """Looks at one plane of a volume without leaving slices out; mirrored ones count alike."""

    def look_closely(self, scouts: int, mirroring: bool) -> CloseLook:
        """Look at everything.

        Args:
            scouts: how many slices read the query to find the [SEG] state.
            mirroring: whether the target is the same one in a mirror.

        Raises:
            Sim4SegError: if not even one slice fits into memory.
        """
        worth_looking = self._pictures.worth_looking()
        distance = self._pictures.view.spacing[0]
        look = CloseLook(
            presence=torch.zeros(len(self._pictures)),
            logits=torch.full(
                (len(self._pictures), *self._pictures.size), -LOUDEST, dtype=torch.float16
            ),
            seen=[],
            anchors=anchor_numbers(worth_looking, distance),
        )
        if not worth_looking:
            return look
        try:
            states, presence = self.scout(scouts, look.anchors)
            seg_state = states[int(presence.argmax())]
            readings = self._read_all(look, seg_state)
            look.seen = worth_looking
            look.presence[worth_looking] = readings.at(worth_looking).presence_logits.sigmoid()
            look.is_seen = self._is_convincing(look, distance)
            if look.is_seen:
                self._draw_all(look, seg_state, readings, mirroring)
        except StopAndKeepError:
            look.was_stopped = True
        return look

    def _read_all(self, look: CloseLook, seg_state: Tensor) -> AnchoredReadings:
        readings = AnchoredReadings(look.anchors, lambda numbers: self._read(numbers, seg_state))
        while not readings.is_complete:
            self._report(0.5 * readings.count / len(look.anchors))
            readings.read_more()
        return readings

    def _is_convincing(self, look: CloseLook, distance: float) -> bool:
        is_known = torch.zeros(len(look.presence), dtype=torch.bool)
        is_known[look.seen] = True
        smooth = smooth_along_stack(look.presence, is_known, distance)
        return float(smooth.max()) >= self._holder.model.config.presence_threshold

    def _draw_all(
        self, look: CloseLook, seg_state: Tensor, readings: AnchoredReadings, mirroring: bool
    ) -> None:
        waiting = look.seen
        while waiting:
            self._report(1 - 0.5 * len(waiting) / len(look.seen))
            numbers, logits = self._next_drawn(waiting, seg_state, readings, mirroring)
            look.logits[numbers] = logits.clamp(-LOUDEST, LOUDEST).half()
            waiting = waiting[len(numbers) :]

    def _next_drawn(
        self, waiting: Sequence[int], seg_state: Tensor, readings: AnchoredReadings, mirroring: bool
    ) -> tuple[Sequence[int], Tensor]:
        """Numbers of one batch and float32 (B, H, W) logits on their pixels."""

        def draw(count: int) -> tuple[Sequence[int], Tensor]:
            numbers = waiting[:count]
            similarity = readings.at(numbers).similarity
            drawn = []
            for frame in self._frames(mirroring):
                logits = self._grounder.draw(numbers, seg_state, similarity, frame)
                drawn.append(frame.invert(logits[:, None].float()))
            return numbers, torch.stack(drawn).mean(0)[:, 0]

        return self._room.attempt(draw, len(waiting))

    def _frames(self, mirroring: bool) -> list[Frame]:
        plain = self._grounder.sam_frame
        return [plain, plain.mirror(columns=True)] if mirroring else [plain]
