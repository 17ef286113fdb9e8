"""Training of either network: one process, goes on where it was killed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError

from .. import run_folder, state
from ..average import WeightAverage
from ..config import TrainingConfig
from ..history import History
from ..loop import learning_rate, one_thread
from ..parallel import World
from ..precision import step_precision


class ImageBatch(Protocol):
    """What a step needs of its batch: images (B, 3, S, S), to be moved to a device."""

    @property
    def images(self) -> Tensor: ...

    @property
    def record_ids(self) -> list[str]: ...

    def to(self, device: torch.device) -> Any: ...


B = TypeVar("B", bound=ImageBatch)
Net = TypeVar("Net", bound=nn.Module)


class NetworkTrainer(Generic[Net, B]):
    """One run folder: configuration, environment, state, history."""

    def __init__(
        self,
        config: TrainingConfig,
        network: Net,
        batches: Dataset[B],
        loss: Callable[[Tensor, B], dict[str, Tensor]],
    ) -> None:
        """
        Args:
            network: untrained, on the CPU.
            batches: item n is the batch of step n.
            loss: terms of a prediction, with their weighted sum as `total`.

        Raises:
            Sim4SegError: if the folder holds another run or cannot be written.
        """
        torch.set_num_threads(config.threads)
        self.config = config
        self.output = Path(config.output)
        self.world = World.join(config.device)
        self.network = network.to(self.world.device)
        self.batches = batches
        self.loss = loss
        self.average = WeightAverage(self.network, config.optimizer.ema_decay)
        decayed = [p for p in self.network.parameters() if p.ndim >= 2]
        others = [p for p in self.network.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.optimizer.weight_decay},
                {"params": others, "weight_decay": 0.0},
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
        """Train to the configured number of steps; nothing happens where that was done."""
        if self.step >= self.config.steps:
            return
        loader = DataLoader(
            self.batches,
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
            desc=self.output.name,
            mininterval=2,
            dynamic_ncols=True,
        )
        with progress:
            for batch in loader:
                values = self.train_step(batch)
                self.history.add(self.step, values)
                progress.update()
                if self.step % 20 == 0:
                    progress.set_postfix({k: f"{v:.3f}" for k, v in values.items()})
                if self.step % self.config.save_every == 0:
                    self.save()
        # The state last: it says that there is nothing left to do.
        self.history.plot()
        self.save()

    def train_step(self, batch: B) -> dict[str, float]:
        """One optimiser step.

        Returns:
            the learning rate and each term of the loss.

        Raises:
            Sim4SegError: if the loss is not finite; the last saved state is kept.
        """
        rate = learning_rate(self.step, self.config.steps, self.config.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout, too, is a function of the step, so that a continued run repeats it.
        torch.manual_seed(hash((self.config.seed, self.step)))
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        moved = batch.to(self.world.device)
        terms = self.loss(self._predict(moved.images), moved)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise Sim4SegError(
                f"the loss is not finite at step {self.step}, batch of "
                f"{', '.join(batch.record_ids)}; the last saved state is kept in {self.output}: "
                "lower learning_rate and continue in another output"
            )
        terms["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return {"learning_rate": rate} | values

    def _predict(self, images: Tensor) -> Tensor:
        with step_precision(next(self.network.parameters()), self.config.bfloat16):
            predicted: Tensor = self.network(images)
        return predicted

    def averaged(self) -> Net:
        """A copy of the network with the averaged weights, in evaluation mode."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.average.values, strict=False)
        return network.eval()

    def save(self) -> None:
        """Write history and state.

        Raises:
            Sim4SegError: if the disk is full or read-only; the state before stays.
        """
        # Before the state: rows that a state does not reach are dropped when it is continued.
        self.history.write()
        saved = state.collect(self.step, self.network, self.average, self.optimizer, None, 0)
        state.write(saved, self.output / state.STATE_FILE, self.world)
