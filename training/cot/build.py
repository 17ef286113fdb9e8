"""Wires a run from its configuration; the only place that knows every implementation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from Sim4SegCore.errors import Sim4SegError

from ..records import Record, annotated_targets, data_folder, read_records
from .assistants import Critic, CriticalAssistant, Generator, JointCritic, MedicalAssistant
from .chat import Chat
from .config import AssistantConfig, CotConfig
from .costs import CostBook
from .critic import GroundedCritic
from .endpoint import EndpointChat, ReplyCache
from .loading import SubjectLoader
from .pipeline import Pipeline
from .queries import make_items
from .subject import Item
from .writer import GroundedWriter

CALLS_FILE, CACHE_FOLDER = "calls.jsonl", "cache"


@dataclass(frozen=True)
class Run:
    """A pipeline and what belongs to it.

    Attributes:
        costs: None if no endpoint is used.
    """

    pipeline: Pipeline
    items: list[Item]
    costs: CostBook | None

    def close(self) -> None:
        """Let another process write."""
        self.pipeline.close()
        if self.costs is not None:
            self.costs.close()


def build_run(config: CotConfig) -> Run:
    """Everything of a run, nothing started yet.

    Raises:
        Sim4SegError: if data, configuration or run folder are not fit.
    """
    _check(config)
    folder, records, items = read_items(config)
    output = Path(config.output)
    stop = threading.Event()
    uses_endpoint = any(a.kind == "endpoint" for a in (config.generator, *config.critics))
    costs = CostBook(output / CALLS_FILE, config.cost_limit) if uses_endpoint else None
    try:
        chat = _Chats(output, costs, stop)
        pipeline = Pipeline(
            output,
            _generator(config, chat),
            _critic(config, chat),
            SubjectLoader(folder, records),
            config.rounds,
            stop,
        )
    except BaseException:
        if costs is not None:
            costs.close()
        raise
    return Run(pipeline, items, costs)


def read_items(config: CotConfig) -> tuple[Path, list[Record], list[Item]]:
    """Data folder, all records of the split, and the items of every n-th one.

    Raises:
        Sim4SegError: if the data is missing or broken.
    """
    folder = data_folder(config.data)
    records = read_records(folder, config.split)
    annotated = annotated_targets(records)
    chosen = records[:: config.every]
    items = list(make_items(chosen, config.queries, config.seed, annotated))
    return folder, records, items


def _check(config: CotConfig) -> None:
    for name in ("every", "rounds", "workers"):
        if getattr(config, name) < 1:
            raise Sim4SegError(f"{name} must be at least 1")
    if not config.critics:
        raise Sim4SegError("critics must name at least one; without any, nothing is checked")
    if any(a.attempts < 1 for a in (config.generator, *config.critics)):
        raise Sim4SegError("attempts must be at least 1")


def _generator(config: CotConfig, chat: Callable[[AssistantConfig], Chat]) -> Generator:
    if config.generator.kind == "grounded":
        return GroundedWriter(config.seed)
    return MedicalAssistant(chat(config.generator))


def _critic(config: CotConfig, chat: Callable[[AssistantConfig], Chat]) -> Critic:
    critics: list[Critic] = [
        GroundedCritic() if c.kind == "grounded" else CriticalAssistant(chat(c))
        for c in config.critics
    ]
    return critics[0] if len(critics) == 1 else JointCritic(tuple(critics))


class _Chats:
    """Makes chats; a local model that both assistants use is loaded once."""

    def __init__(self, output: Path, costs: CostBook | None, stop: threading.Event) -> None:
        self._output, self._costs, self._stop = output, costs, stop
        self._made: dict[AssistantConfig, Chat] = {}

    def __call__(self, config: AssistantConfig) -> Chat:
        if config not in self._made:
            self._made[config] = self._make(config)
        return self._made[config]

    def _make(self, config: AssistantConfig) -> Chat:
        if self._costs is not None and config.kind == "endpoint":
            cache = ReplyCache(self._output / CACHE_FOLDER)
            # Waiting ends at once when the run is stopped.
            return EndpointChat(config, cache, self._costs, self._stop.wait)
        from .local_model import LocalChat

        return LocalChat(config)
