"""Which models there are, and those that are loaded. Clients name models, never paths."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..case import Case, Result
from ..progress import Progress
from ..scaling_config import ScalingConfig
from ..volume import SliceOptions, VolumeCase, VolumeResult
from .problems import refuse
from .protocol import NAME_PATTERN

if TYPE_CHECKING:
    from .serving import ServedSim4Seg

LOG = logging.getLogger(__name__)


class Predictor(Protocol):
    """What the service needs of `Sim4Seg`, and the scaling that it does by itself."""

    progress: Progress

    @property
    def scaling(self) -> ScalingConfig: ...

    @property
    def encoded(self) -> Any: ...

    @encoded.setter
    def encoded(self, image: Any) -> None: ...

    def set_image(self, image: Case) -> None: ...

    def ask(self, query: str, scaling: ScalingConfig | None = None) -> Result: ...

    def segment_volume(
        self, volume: VolumeCase, query: str, options: SliceOptions | None = None
    ) -> VolumeResult: ...


def place_of(predictor: Predictor) -> str:
    """The device of its model; empty where that is somewhere else."""
    return str(getattr(getattr(predictor, "model", None), "device", ""))


Load = Callable[[str | None, str], Predictor]
"""(folder, hub id or None for the embedded one; device) to a predictor."""


def load_sim4seg(source: str | None, device: str) -> Predictor:
    """The real thing; imports torch, so it is called on the worker's thread."""
    from .serving import ServedSim4Seg

    # What from_pretrained returns is of the class that it is called on.
    loaded = ServedSim4Seg.from_pretrained(source, device=device, notify=LOG.warning)
    return cast("ServedSim4Seg", loaded)


class ModelCatalog:
    """Names to sources: those of the configuration, then the folders inside one folder."""

    def __init__(self, named: dict[str, str | None], folder: Path | None = None) -> None:
        self._named = dict(named)
        self._folder = folder

    def names(self) -> list[str]:
        """All names; the first is used where a client names none."""
        return list(self._sources())

    def source(self, name: str | None) -> tuple[str, str | None]:
        """
        Returns:
            The model's name and where it comes from, see `Load`.

        Raises:
            ServiceProblemError: if there is no such model.
        """
        sources = self._sources()
        if name is None and sources:
            name = next(iter(sources))
        if name is None or name not in sources:
            raise refuse("invalid", f"model: there is none of that name; see {'/v1/health'}.")
        return name, sources[name]

    def _sources(self) -> dict[str, str | None]:
        sources = dict(self._named)
        if self._folder is not None and self._folder.is_dir():
            for folder in sorted(self._folder.iterdir()):
                is_model = (folder / "config.json").is_file()
                if is_model and re.fullmatch(NAME_PATTERN, folder.name):
                    sources.setdefault(folder.name, str(folder))
        return sources


class ModelShelf:
    """Loaded models of one device, the most recently used ones; for one thread."""

    def __init__(self, load: Load, device: str, capacity: int) -> None:
        self._load = load
        self._device = device
        self._capacity = capacity
        self._loaded: OrderedDict[str, tuple[str | None, Predictor]] = OrderedDict()

    def get(self, name: str, source: str | None) -> tuple[Predictor, bool]:
        """
        Returns:
            The predictor, and whether it was loaded anew.

        Raises:
            Sim4SegError: if it cannot be loaded.
        """
        known = self._loaded.get(name)
        if known is not None and known[0] == source:
            self._loaded.move_to_end(name)
            return known[1], False
        self._loaded.pop(name, None)
        # Room is made first: two models may not fit beside each other.
        while len(self._loaded) >= self._capacity:
            self._loaded.popitem(last=False)
        predictor = self._load(source, self._device)
        self._loaded[name] = (source, predictor)
        return predictor, True

    def keep_only(self, name: str) -> None:
        """Drop all other models."""
        for other in [known for known in self._loaded if known != name]:
            del self._loaded[other]

    def drop(self, name: str) -> None:
        """Forget a model that may be in an unknown state."""
        self._loaded.pop(name, None)

    def names(self) -> list[str]:
        """Names of the loaded ones."""
        return list(self._loaded)
