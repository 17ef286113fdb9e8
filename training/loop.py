"""The training loop: resumable at any step, with the result of an uninterrupted run."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.layers import lay_out_channels_last
from Sim4SegCore.modeling.sim4seg import TeacherForced

from . import run_folder, state
from .average import WeightAverage
from .batches import Batch, BatchDataset, plain_batches, predict
from .config import OptimizerConfig, TrainingConfig
from .embeddings import EmbeddingCache, fill_cache
from .history import History
from .losses import Counts, total_loss
from .networks import TOKENIZER_FOLDER, build_network
from .parallel import World, collect_gradients_only, spread
from .precision import step_precision
from .reasoning import WrittenReasoning
from .records import Record, data_folder, read_records, read_training_records
from .sample_views import PLAIN, Variation
from .samples import SampleMaker
from .target_directions import directions, taught_targets
from .views import ImageStore
from .words import WordMaker

FINAL_RATE = 0.01
"""Learning rate at the end, as a fraction of the peak."""


def split_calibration(
    records: Sequence[Record], fraction: float
) -> tuple[list[Record], list[Record]]:
    """Hold out whole groups of the training split for calibration: (training, calibration)."""
    training: list[Record] = []
    calibration: list[Record] = []
    for record in records:
        held_out = zlib.crc32(record.group.encode()) % 1000 < 1000 * fraction
        (calibration if held_out else training).append(record)
    return training, calibration


def learning_rate(step: int, steps: int, optimizer: OptimizerConfig) -> float:
    """Linear warm-up, then cosine or linear decay to FINAL_RATE of the peak."""
    if step < optimizer.warmup_steps:
        return optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    done = min(1.0, (step - optimizer.warmup_steps) / max(1, steps - optimizer.warmup_steps))
    left = 0.5 * (1 + math.cos(math.pi * done)) if optimizer.schedule == "cosine" else 1 - done
    return optimizer.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * left)


class Trainer:
    """One run folder: configuration, environment, state, history, logs."""

    def __init__(self, config: TrainingConfig) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.output = Path(config.output)
        self.world = World.join(config.device)
        torch.backends.cudnn.benchmark = True  # views have one size
        folder = data_folder(config.data)
        records, _ = split_calibration(
            read_training_records(folder, config.more_data, config.drawn_masks),
            config.calibration_fraction,
        )
        if not records:
            raise Sim4SegError(f"train.jsonl in {folder} has no record to train on")
        network = build_network(config, records)
        self.model, self.adapter = network.model.to(self.world.device), network.adapter
        if not config.parallel.sharded:  # FSDP wants contiguous weights
            lay_out_channels_last(self.model)
        if config.parallel.gradient_checkpointing:
            _recompute_activations(self.model.lvlm.network)
        store = ImageStore(folder, config.image_cache_gib)
        embeddings = self._cached_embeddings(records, store)
        words = WordMaker(
            config, self.model.lvlm, reasoning=WrittenReasoning.read(config.reasoning, records)
        )
        variation = Variation(
            config.sampling.geometry,
            promptless=config.sampling.promptless,
            degraded=config.sampling.degraded,
        )
        self.targets = taught_targets(records)
        self.target_directions = directions(self.targets, self.model.config.segmenter.embed_dim).to(
            self.world.device
        )
        varied = self._maker(store, variation, words, embeddings)
        self.dataset = BatchDataset(config, records, varied, self.world)
        self._validation = self._validation_batches(folder, store) if self._looks else []
        self.forward = spread(
            self.model, self.model.lvlm.blocks, self.world, config.parallel.sharded
        )
        self.average = WeightAverage(self.model, config.optimizer.ema_decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, config.optimizer.weight_decay),
            lr=config.optimizer.learning_rate,
            betas=config.optimizer.betas,
            fused=self.world.device.type == "cuda",
        )
        self.step = 0
        self.best_loss: float | None = None
        self.looks_since_best = 0
        self._open_folder()
        self.history = History(self.output, self.step)

    @property
    def _looks(self) -> bool:
        return self.config.validation.every > 0

    def _maker(
        self,
        store: ImageStore,
        variation: Variation,
        words: WordMaker,
        embeddings: EmbeddingCache | None = None,
    ) -> SampleMaker:
        labels = {label: n for n, label in enumerate(self.model.config.diagnoses)}
        targets = {target: n for n, target in enumerate(self.targets)}
        return SampleMaker(
            self.config, store, self.model.lvlm, labels, targets, variation, words, embeddings
        )

    def _cached_embeddings(
        self, records: Sequence[Record], store: ImageStore
    ) -> EmbeddingCache | None:
        place = self.config.base.embedding_cache
        if place is None:
            return None
        return fill_cache(Path(place), self.model, records, store, self.world)

    def _validation_batches(self, folder: Path, store: ImageStore) -> list[Batch]:
        records = read_records(folder, "val")
        words = WordMaker(self.config, self.model.lvlm, varied=False)
        maker = self._maker(store, PLAIN, words)
        return plain_batches(self.config, records, maker, self.world)

    def _open_folder(self) -> None:
        """Start a run folder, or continue the run that is in it."""
        if run_folder.continues(self.output, self.config):
            self._restore()
        elif self.world.is_main:
            run_folder.begin(self.output, self.config, self.world.size)
            try:
                self.model.lvlm.tokenizer.save_pretrained(self.output / TOKENIZER_FOLDER)
            except OSError as error:
                raise Sim4SegError(f"cannot write to {self.output}: {error.strerror}") from None
        self.world.wait()

    def run(self) -> None:
        """Train to the configured number of steps, or until validation stops improving."""
        loader = DataLoader(
            self.dataset,
            batch_size=None,
            sampler=range(self.step, self.config.steps),
            num_workers=self.config.workers,
            prefetch_factor=4 if self.config.workers else None,
            worker_init_fn=one_thread,
        )
        progress = tqdm(
            total=self.config.steps,
            initial=self.step,
            unit="step",
            mininterval=2,
            dynamic_ncols=True,
            disable=not self.world.is_main,
        )
        with self._log() as log, progress:
            for batches in loader:
                if self._is_finished:
                    break
                values = self.train_step([_to(batch, self.world.device) for batch in batches])
                progress.update()
                self._after_step(values, log)
                if self.step % 20 == 0:
                    progress.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
        self.save()
        if self.world.is_main and self.history.rows:
            self.history.plot()

    def _log(self) -> contextlib.AbstractContextManager[SummaryWriter | None]:
        if not self.world.is_main:
            return contextlib.nullcontext()
        log: SummaryWriter = SummaryWriter(str(self.output / "logs"), purge_step=self.step + 1)
        return log

    @property
    def _is_finished(self) -> bool:
        """Whether validation has had enough."""
        return self._looks and self.looks_since_best >= self.config.validation.patience

    def _after_step(self, values: dict[str, float], log: SummaryWriter | None) -> None:
        if self._looks and self.step % self.config.validation.every == 0:
            values = values | {"validation": self._look()}
        self.history.add(self.step, values)
        if log is not None and (self.step % 20 == 0 or "validation" in values):
            for name, value in values.items():
                log.add_scalar(f"loss/{name}", value, self.step)
        if self.step % self.config.save_every == 0 or self._is_finished:
            self.save()

    def train_step(self, batches: Sequence[Batch]) -> dict[str, float]:
        """One optimiser step over this process's micro-batches.

        Returns:
            the learning rate and each term of the loss, of the whole batch.

        Raises:
            Sim4SegError: if the loss is not finite; the last saved state is kept.
        """
        rate = learning_rate(self.step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout, too, is a function of the step, so that a continued run repeats it.
        torch.manual_seed(hash((self.config.seed, self.step, self.world.rank)))
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._forward(batches, learn=True)
        self._check_finite(terms, batches)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return {"learning_rate": rate} | terms

    def _forward(self, batches: Sequence[Batch], learn: bool) -> dict[str, float]:
        """Terms of the loss over all processes; with `learn`, gradients are added up."""
        counts = Counts.of(batches)
        self.world.sum(counts.values)
        totals: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            with collect_gradients_only(self.forward, number == len(batches) - 1):
                loss, terms = total_loss(
                    self._predict(batch), batch, self.config.loss, counts, self.target_directions
                )
                if learn:
                    # DDP and FSDP average over processes what is here a sum.
                    (loss * self.world.size).backward()
            for name, value in (terms | {"total": loss.detach()}).items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value
        summed = self.world.sum(torch.stack(list(totals.values())))
        return dict(zip(totals, summed.tolist(), strict=True))

    def _predict(self, batch: Batch) -> TeacherForced:
        with step_precision(self.model.rvls2m.scale, self.config.bfloat16):
            return predict(self.forward, batch)

    def _check_finite(self, terms: dict[str, float], batches: Sequence[Batch]) -> None:
        bad = [name for name, value in terms.items() if not math.isfinite(value)]
        if bad:
            ids = ", ".join(record for batch in batches for record in batch.record_ids)
            raise Sim4SegError(
                f"the loss ({', '.join(bad)}) is not finite at step {self.step}, batch of {ids}; "
                f"the last saved state is kept in {self.output}: lower optimizer.learning_rate "
                "and continue in another output"
            )

    @torch.no_grad()
    def _look(self) -> float:
        """Loss of the averaged weights on val; the best ones are kept."""
        self.model.eval()
        with self.average.in_place():
            loss = self._forward([_to(b, self.world.device) for b in self._validation], False)
        if self.best_loss is None or loss["total"] < self.best_loss:
            self.best_loss, self.looks_since_best = loss["total"], 0
            state.write(self._state(), self.output / state.BEST_FILE, self.world)
        else:
            self.looks_since_best += 1
        return loss["total"]

    def _state(self) -> dict[str, Any]:
        return state.collect(
            self.step,
            self.model,
            self.average,
            self.optimizer,
            self.best_loss,
            self.looks_since_best,
        )

    def save(self) -> None:
        """Write state and history; every process has to take part.

        Raises:
            Sim4SegError: if the disk is full or read-only; the state before stays.
        """
        if self.world.is_main:
            # Before the state: rows that a state does not reach are dropped when it is continued.
            self.history.write()
        state.write(self._state(), self.output / state.STATE_FILE, self.world)

    def _restore(self) -> None:
        saved = state.read(self.output / state.STATE_FILE)
        state.restore(saved, self.model, self.average, self.optimizer)
        self.step = saved["step"]
        self.best_loss = saved["best_loss"]
        self.looks_since_best = saved["looks_since_best"]


def _recompute_activations(network: Any) -> None:
    network.gradient_checkpointing_enable({"use_reentrant": False})
    # Frozen embeddings would leave the recomputed blocks without a path for gradients.
    network.enable_input_require_grads()


def parameter_groups(
    model: nn.Module, weight_decay: float, undecayed: Sequence[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """An optimizer's groups of what is trained; vectors, scalars and `undecayed` never decay."""
    kept = {id(parameter) for parameter in undecayed}
    groups: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for parameter in model.parameters():
        if parameter.requires_grad:
            groups[parameter.ndim < 2 or id(parameter) in kept].append(parameter)
    decayed, others = groups
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _to(batch: Batch, device: torch.device) -> Batch:
    moved: dict[str, Any] = {}
    for item in dataclasses.fields(batch):
        value = getattr(batch, item.name)
        moved[item.name] = value.to(device) if hasattr(value, "to") else value
    return Batch(**moved)


def one_thread(_: int) -> None:
    """For a worker of a loader: the cores are the training's."""
    torch.set_num_threads(1)
