"""A scan looked at in overlapping windows: memory is bounded by window, batch and cross-section.

Windows are worked off in layers along z. What a layer has finished is drawn at once, so that
there is never a second volume but the mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..modeling.precision import fast_precision
from ..modeling.volumetric import VolumetricNetwork
from ..progress import StopAndKeepError
from .case import VolumeCase
from .memory import ModelHolder, Room
from .network_grid import NetworkGrid
from .resampling import Floats
from .tiles import AxisTiles
from .windows import Window

CPU_BATCH = 2
GPU_BATCH = 8
_BLACK = -1.0


@dataclass
class Seen:
    """What was seen in the windows of a scan.

    Attributes:
        mask: bool (k, j, i), before any cleaning.
        along: for z, y and x of the grid, the highest presence of the windows through each place;
            NaN where none was looked at.
        done: windows that were looked at.
        count: all windows.
    """

    mask: NDArray[np.bool_]
    along: tuple[Floats, Floats, Floats]
    done: int = 0
    count: int = 0
    was_stopped: bool = False

    @property
    def presence(self) -> float:
        """The highest of all windows."""
        return float(np.nanmax(self.along[0])) if self.done else 0.0


class WindowLooker:
    """One network and one query over one scan."""

    def __init__(
        self,
        holder: ModelHolder,
        network: VolumetricNetwork,
        case: VolumeCase,
        window: Window,
        report: Callable[[float], None],
        batch: int | None = None,
    ) -> None:
        """
        Args:
            holder: its model is moved with the network if memory runs short.
            window: of intensities.
            report: called between batches with the fraction that is done; may raise.
            batch: windows at a time; None for what suits the device.
        """
        self._holder = holder
        self._network = network
        self._case = case
        self._window = window
        self._report = report
        config = network.config
        self._grid = NetworkGrid(case.geometry, case.shape, config.spacing_mm)
        self._tiles = [
            AxisTiles.of(size, side, config.overlap)
            for size, side in zip(self._grid.shape, config.window, strict=True)
        ]
        is_gpu = holder.model.device.type == "cuda"
        self.room = Room(
            holder,
            batch or (GPU_BATCH if is_gpu else CPU_BATCH),
            "windows",
            CPU_BATCH,
            lambda: self._network.to("cpu"),
        )

    @property
    def grid(self) -> NetworkGrid:
        """Of the scan."""
        return self._grid

    def look(self, query: Tensor | None) -> Seen:
        """Look at every window.

        Args:
            query: (Q,) of unit length; None if there was no time to read it.

        Raises:
            Sim4SegError: if not even one window fits into memory.
        """
        z, y, x = self._tiles
        nothing = [np.full(tiles.size, np.nan, np.float32) for tiles in self._tiles]
        seen = Seen(
            mask=np.zeros(self._case.shape, dtype=bool),
            along=(nothing[0], nothing[1], nothing[2]),
            count=len(z.starts) * len(y.starts) * len(x.starts),
        )
        if query is None:
            seen.was_stopped = True
            return seen
        # The model may have moved to the CPU while it read the query.
        query = query.to(self._network.to(self._holder.model.device).prototypes.device)
        layers = _Layers(self._grid, seen.mask, self._network.config.mask_threshold)
        try:
            for number, start in enumerate(z.starts):
                self._report(seen.done / seen.count)
                layers.reach(start)
                self._look_at_layer(number, query, layers, seen)
            self._report(1.0)
        except StopAndKeepError:
            seen.was_stopped = True
        layers.finish()
        if seen.presence < self._network.config.presence_threshold:
            seen.mask[:] = False
        return seen

    def _look_at_layer(self, number: int, query: Tensor, layers: _Layers, seen: Seen) -> None:
        z, y, x = self._tiles
        deep = z.inside(number)
        grey = self._grid.grey(self._case.voxels, self._window, deep.start, deep.stop)
        layers.open(deep.stop)
        waiting = list(product(range(len(y.starts)), range(len(x.starts))))
        while waiting:
            self._report(seen.done / seen.count)
            places, drawn, presence = self._next(grey, waiting, query)
            for (row, column), values, present in zip(places, drawn, presence, strict=True):
                inside = (deep, y.inside(row), x.inside(column))
                _raise_to(seen.along, inside, present)
                if present >= self._network.config.presence_threshold:
                    weighted = values * z.weights[number][:, None, None]
                    weighted *= y.weights[row][:, None] * x.weights[column]
                    layers.add(inside, weighted)
            seen.done += len(places)
            waiting = waiting[len(places) :]

    def _next(
        self, grey: Floats, waiting: list[tuple[int, int]], query: Tensor
    ) -> tuple[list[tuple[int, int]], Floats, list[float]]:
        """One batch; where memory does not suffice, a smaller one."""
        return self.room.attempt(
            lambda count: self._ground(grey, waiting[:count], query), len(waiting)
        )

    def _ground(
        self, grey: Floats, places: list[tuple[int, int]], query: Tensor
    ) -> tuple[list[tuple[int, int]], Floats, list[float]]:
        """Probabilities (B, z, y, x) and presence of some windows of a layer."""
        z, y, x = self._tiles
        windows = torch.full((len(places), 1, z.side, y.side, x.side), _BLACK)
        for window, (row, column) in zip(windows[:, 0], places, strict=True):
            part = torch.from_numpy(grey[:, y.inside(row), x.inside(column)])
            window[tuple(slice(side) for side in part.shape)] = part
        device = self._holder.model.device
        with torch.inference_mode(), fast_precision(self._network.prototypes):
            output = self._network(windows.to(device), query.to(device).expand(len(places), -1))
        probability = output.mask_logits.float().sigmoid().cpu().numpy()
        return places, probability, output.presence_logits.float().sigmoid().tolist()


class _Layers:
    """Planes of the grid that windows still add to; finished ones are drawn and forgotten."""

    def __init__(self, grid: NetworkGrid, mask: NDArray[np.bool_], threshold: float) -> None:
        self._grid = grid
        self._mask = mask
        self._threshold = threshold
        self._first = 0
        self._drawn = 0
        self._values = np.zeros((0, *grid.shape[1:]), np.float32)

    def open(self, stop: int) -> None:
        """Have planes up to `stop`."""
        missing = max(0, stop - self._first - len(self._values))
        new = np.zeros((missing, *self._values.shape[1:]), np.float32)
        self._values = np.concatenate([self._values, new])

    def add(self, inside: tuple[slice, slice, slice], values: Floats) -> None:
        """Add weighted probabilities of a window; what lies beyond the grid is left out."""
        z, y, x = inside
        part = values[: z.stop - z.start, : y.stop - y.start, : x.stop - x.start]
        self._values[z.start - self._first : z.stop - self._first, y, x] += part

    def reach(self, start: int) -> None:
        """Nothing will be added before plane `start` any more: draw what depends on no other."""
        while self._drawn < self._grid.planes:
            needed = self._grid.needed(self._drawn)
            if needed.needed.stop > min(start, self._first + len(self._values)):
                return
            at = slice(needed.needed.start - self._first, needed.needed.stop - self._first)
            values = needed.along(0, self._values[at])[0]
            self._grid.draw(self._mask, self._drawn, values, self._threshold)
            self._drawn += 1
            self._forget(needed.needed.start)

    def _forget(self, plane: int) -> None:
        """Planes of the scan that follow need none before this one."""
        self._values = self._values[plane - self._first :]
        self._first = plane

    def finish(self) -> None:
        """Draw the rest."""
        self.reach(self._first + len(self._values))


def _raise_to(
    along: tuple[Floats, Floats, Floats], inside: tuple[slice, ...], value: float
) -> None:
    for values, part in zip(along, inside, strict=True):
        values[part] = np.fmax(values[part], value)
