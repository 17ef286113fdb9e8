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
from .looking import ReadSlices, SliceLooker


@dataclass(kw_only=True)
class CloseLook(ReadSlices):
    """What was seen on the slices of a view.

    Attributes:
        logits: float16 (N, H, W) on the slices' own pixels, none beyond LOUDEST; -LOUDEST where
            nothing was drawn.
        shows_target: whether some slice shows it.
    """

    logits: Tensor
    shows_target: bool = False


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
            anchors=anchor_numbers(worth_looking, distance),
        )
        if not worth_looking:
            return look
        try:
            states, presence = self.scout(scouts, look.anchors)
            seg_state = states[int(presence.argmax())]
            readings = self._read_all(look, seg_state)
            look.seen = worth_looking
            reading = readings.at(worth_looking)
            look.presence[worth_looking] = reading.presence_logits.sigmoid()
            look.shows_target = self._is_convincing(look, distance)
            if look.shows_target:
                self._draw_all(look, seg_state, reading.similarity, mirroring)
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
        smooth = smooth_along_stack(look.presence, look.is_seen, distance)
        return float(smooth.max()) >= self._holder.model.config.presence_threshold

    def _draw_all(
        self, look: CloseLook, seg_state: Tensor, similarity: Tensor, mirroring: bool
    ) -> None:
        """Draw what was seen; similarity (seen, gh, gw)."""
        waiting = look.seen
        while waiting:
            self._report(1 - 0.5 * len(waiting) / len(look.seen))
            logits = self._next_drawn(waiting, seg_state, similarity[-len(waiting) :], mirroring)
            look.logits[waiting[: len(logits)]] = logits.clamp(-LOUDEST, LOUDEST).half()
            waiting = waiting[len(logits) :]

    def _next_drawn(
        self, waiting: Sequence[int], seg_state: Tensor, similarity: Tensor, mirroring: bool
    ) -> Tensor:
        """float32 (B, H, W) logits of the first few, on their pixels."""

        def draw(count: int) -> Tensor:
            drawn = []
            for frame in self._frames(mirroring):
                logits = self._grounder.draw(waiting[:count], seg_state, similarity[:count], frame)
                drawn.append(frame.invert(logits[:, None].float()))
            return torch.stack(drawn).mean(0)[:, 0]

        return self._room.attempt(draw, len(waiting))

    def _frames(self, mirroring: bool) -> list[Frame]:
        plain = self._grounder.sam_frame
        return [plain, plain.mirror(columns=True)] if mirroring else [plain]
