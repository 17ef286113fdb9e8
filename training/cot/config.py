"""Configuration of the chain-of-thought pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .queries import QueryCounts


@dataclass(frozen=True)
class AssistantConfig:
    """Who writes or who judges.

    Attributes:
        kind: grounded needs no model; endpoint is any OpenAI-compatible server; local is a
            transformers model on this machine.
        model: the endpoint's name of the model; for local a folder or hub id.
        url: of the endpoint, up to and including /v1.
        key_variable: environment variable that holds the endpoint's key; it is never stored.
        allow_upload: whether images may leave this machine. Without it only loopback addresses
            are accepted.
        image_side: the picture is made smaller to this longest side, in pixels.
        temperature: 0 for the most likely answer.
        max_tokens: of one reply.
        timeout_s: seconds to wait for one reply.
        attempts: tries of one request before giving up.
        requests_per_minute: at most; 0 for no limit.
        prompt_price, completion_price: per million tokens, in any currency, to count the cost.
        device: of a local model: auto, cpu, cuda:N, mps.
    """

    kind: Literal["grounded", "endpoint", "local"] = "grounded"
    model: str = ""
    url: str = ""
    key_variable: str = "SIM4SEG_COT_KEY"
    allow_upload: bool = False
    image_side: int = 768
    temperature: float = 0.7
    max_tokens: int = 600
    timeout_s: float = 120.0
    attempts: int = 5
    requests_per_minute: float = 60.0
    prompt_price: float = 0.0
    completion_price: float = 0.0
    device: str = "auto"


@dataclass(frozen=True)
class CotConfig:
    """One run of `run.py cot`, and of the review of its results.

    Attributes:
        output: the run's folder; a run that was stopped is continued from it.
        split: of the data whose records are asked.
        data: the data folder; None for SIM4SEG_DATA.
        every: only every n-th record, to be quick.
        rounds: attempts at one answer before it waits for a person; a person's rejection
            allows as many again.
        workers: answers in work at the same time; more than one helps only an endpoint.
        cost_limit: stop when the endpoint has cost this much; 0 for no limit.
        critics: all of them have to accept; the first that rejects ends the round.
    """

    output: str = "runs/cot"
    split: str = "train"
    data: str | None = None
    seed: int = 0
    every: int = 1
    rounds: int = 3
    workers: int = 1
    cost_limit: float = 0.0
    queries: QueryCounts = field(default_factory=QueryCounts)
    generator: AssistantConfig = field(default_factory=AssistantConfig)
    critics: tuple[AssistantConfig, ...] = (AssistantConfig(),)
