"""Training of a network beside the model: one process, goes on where it was killed."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError

from . import run_folder, state
from .average import WeightAverage
from .config import OptimizerConfig
from .history import History
from .loop import learning_rate, one_thread, parameter_groups
from .parallel import World
from .precision import step_precision


class RunConfig(Protocol):
    """What a run's configuration says, besides what it says of network and batches."""

    @property
    def output(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def bfloat16(self) -> bool: ...
    @property
    def save_every(self) -> int: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


class Movable(Protocol):
    """A batch."""

    def to(self, device: torch.device) -> Any: ...


B = TypeVar("B", bound=Movable)
Net = TypeVar("Net", bound=nn.Module)
Config = TypeVar("Config", bound=RunConfig)
Predicted = TypeVar("Predicted")


class NetworkTrainer(Generic[Config, Net, B, Predicted]):
    """One run folder: configuration, environment, state, history."""

    def __init__(
        self,
        config: Config,
        network: Net,
        batches: Dataset[B],
        predict: Callable[[Net, B], Predicted],
        loss: Callable[[Predicted, B], dict[str, Tensor]],
        undecayed: Sequence[nn.Parameter] = (),
        workers: int = 0,
    ) -> None:
        """
        Args:
            network: untrained, on the CPU; what is frozen stays as it is.
            batches: item n is the batch of step n.
            predict: called in the precision of the run.
            loss: terms of a prediction, with their weighted sum as `total`.
            undecayed: weights that never decay, as vectors and scalars never do.
            workers: processes that make batches.

        Raises:
            Sim4SegError: if the folder holds another run or cannot be written.
        """
        torch.set_num_threads(config.threads)
        self.config = config
        self.output = Path(config.output)
        self.world = World.join(config.device)
        self.network = network.to(self.world.device)
        self.batches = batches
        self._predict = predict
        self.loss = loss
        self._workers = workers
        self.average = WeightAverage(self.network, config.optimizer.ema_decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, config.optimizer.weight_decay, undecayed),
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
            num_workers=self._workers,
            prefetch_factor=4 if self._workers else None,
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
        moved: B = batch.to(self.world.device)
        with step_precision(next(self.network.parameters()), self.config.bfloat16):
            predicted = self._predict(self.network, moved)
        terms = self.loss(predicted, moved)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise Sim4SegError(
                f"the loss is not finite at step {self.step}; the last saved state is kept in "
                f"{self.output}: lower the learning rate and continue in another output"
            )
        terms["total"].backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return {"learning_rate": rate} | values

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
