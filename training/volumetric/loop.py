"""Training of the volumetric network: one process, goes on where it was killed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.modeling.volumetric import VolumeGrounding, VolumetricConfig, VolumetricNetwork

from .. import run_folder, state
from ..average import WeightAverage
from ..history import History
from ..loop import learning_rate
from ..parallel import World
from ..precision import step_precision
from ..records import data_folder, read_records
from .batches import ELSEWHERE, WindowBatch, WindowBatches
from .config import VolumetricTrainingConfig
from .losses import volumetric_loss
from .scans import LabelledScan, read_scans, read_strangers


def new_network(config: VolumetricTrainingConfig) -> VolumetricNetwork:
    """An untrained network.

    Raises:
        Sim4SegError: if its sizes do not go together.
    """
    if not config.targets:
        raise Sim4SegError("the configuration names no targets")
    torch.manual_seed(config.seed)
    try:
        return VolumetricNetwork(
            VolumetricConfig(
                seg_width=config.seg_width,
                channels=config.channels,
                targets=tuple(config.targets),
                modality=config.modality,
                spacing_mm=config.spacing_mm,
                window=config.window,
                overlap=config.overlap,
            )
        )
    except ValueError as error:
        raise Sim4SegError(f"the configuration does not fit: {error}") from None


def split_scans(
    scans: Sequence[LabelledScan], every: int
) -> tuple[list[LabelledScan], list[LabelledScan]]:
    """Those to train on, and every so-many-th, to find thresholds with."""
    if not every:
        return list(scans), []
    held_out = [scan for number, scan in enumerate(scans) if number % every == every - 1]
    return [scan for number, scan in enumerate(scans) if number % every != every - 1], held_out


class VolumetricTrainer:
    """One run folder: configuration, environment, state, history."""

    def __init__(self, config: VolumetricTrainingConfig) -> None:
        """
        Raises:
            Sim4SegError: if data or configuration cannot be used, or the folder holds another run.
        """
        torch.set_num_threads(config.threads)
        self.config = config
        self.output = Path(config.output)
        self.world = World.join(config.device)
        self.network = new_network(config).to(self.world.device)
        folder = data_folder(config.data)
        targets = list(config.targets.values())
        scans, _ = split_scans(
            read_scans(folder.parent / config.volumes, targets, config.spacing_mm), config.held_out
        )
        pictures = read_records(folder, "train") if config.strangers else []
        strangers = read_strangers(folder, pictures, config.body_part, config.strangers)
        self.batches = WindowBatches(config, scans, strangers)
        # The reader is fitted to a checkpoint afterwards.
        self.network.reader.requires_grad_(False)
        self.average = WeightAverage(self.network, config.optimizer.ema_decay)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        kept = [p for p in trained if p.ndim < 2 or p is self.network.prototypes]
        decayed = [p for p in trained if not any(p is other for other in kept)]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.optimizer.weight_decay},
                {"params": kept, "weight_decay": 0.0},
            ],
            lr=config.optimizer.learning_rate,
            betas=config.optimizer.betas,
        )
        self.step = 0
        self._open_folder()
        self.history = History(self.output, self.step)

    def _open_folder(self) -> None:
        if run_folder.continues(self.output, self.config):
            saved = state.read(self.output / state.STATE_FILE)
            state.restore(saved, self.network, self.average, self.optimizer)
            self.step = saved["step"]
            return
        run_folder.begin(self.output, self.config, 1)

    def run(self) -> None:
        """Train to the configured number of steps."""
        progress = tqdm(total=self.config.steps, initial=self.step, unit="step", mininterval=5)
        with progress:
            while self.step < self.config.steps:
                values = self.train_step(self.batches[self.step].to(self.world.device))
                self.history.add(self.step, values)
                progress.update()
                if self.step % 20 == 0:
                    progress.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
                if self.step % self.config.save_every == 0:
                    self.save()
        self.save()
        self.history.plot()

    def train_step(self, batch: WindowBatch) -> dict[str, float]:
        """One optimiser step.

        Returns:
            the learning rate and each term of the loss.

        Raises:
            Sim4SegError: if the loss is not finite; the last saved state is kept.
        """
        rate = learning_rate(self.step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        terms = volumetric_loss(self._predict(batch), batch)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise Sim4SegError(
                f"the loss is not finite at step {self.step}; the last saved state is kept in "
                f"{self.output}: lower optimizer.learning_rate and continue in another output"
            )
        terms["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return {"learning_rate": rate} | values

    def _predict(self, batch: WindowBatch) -> VolumeGrounding:
        with step_precision(next(self.network.parameters()), self.config.bfloat16):
            output: VolumeGrounding = self.network(batch.windows, self._queries(batch))
        return output

    def _queries(self, batch: WindowBatch) -> Tensor:
        """Unit vectors (N, Q): near the learned queries, or anywhere."""
        moved = F.normalize(batch.moved, dim=1)
        near = F.normalize(self.network.prototypes, dim=1)[batch.asked.clamp_min(-1)]
        queries = F.normalize(near + batch.distance[:, None] * moved, dim=1)
        return torch.where((batch.asked == ELSEWHERE)[:, None], moved, queries)

    def save(self) -> None:
        """Write history and state.

        Raises:
            Sim4SegError: if the disk is full or read-only; the state before stays.
        """
        self.history.write()
        saved = state.collect(self.step, self.network, self.average, self.optimizer, None, 0)
        state.write(saved, self.output / state.STATE_FILE, self.world)
