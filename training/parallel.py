"""Several processes, one run: DDP by default, FSDP2 where the model does not fit one device.

`torchrun` sets the environment that is read here; without it there is one process and nothing
of torch.distributed is touched.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from Sim4SegCore.device import resolve_device
from Sim4SegCore.errors import Sim4SegError


@dataclass(frozen=True)
class World:
    """This process among all.

    Attributes:
        device: that this process computes on.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> World:
        """Join the processes that torchrun started, or be alone.

        Raises:
            Sim4SegError: if there is no such device.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls(0, 1, resolve_device(device))
        place = resolve_device(device)
        if place.type == "cuda":
            place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(place)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        return cls(dist.get_rank(), size, place)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over all processes, the same on each; in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def share(self, total: int) -> int:
        """This process's part of a batch.

        Raises:
            Sim4SegError: if the processes cannot share it evenly.
        """
        if total % self.size:
            raise Sim4SegError(f"batch_size {total} cannot be shared by {self.size} processes")
        return total // self.size

    def wait(self) -> None:
        """Wait for every process to come here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the communication; call it last."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def spread(model: nn.Module, layers: list[nn.Module], world: World, sharded: bool) -> nn.Module:
    """The model for training on all processes; call what is returned, save what was given.

    Args:
        model: on its device.
        layers: parts that are sharded each on its own: the language model's blocks.
        world: of this process.
        sharded: FSDP2 instead of DDP.
    """
    if world.size == 1:
        return model
    if sharded:
        for layer in layers:
            fully_shard(layer)
        fully_shard(model)
        return model
    return DistributedDataParallel(model)


def collect_gradients_only(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[None]:
    """Processes exchange gradients in the last micro-batch of a step alone."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
    elif isinstance(model, DistributedDataParallel) and not last:
        return model.no_sync()
    return contextlib.nullcontext()


def gathered(value: Tensor) -> Tensor:
    """A whole tensor on the CPU; every process has to ask for a sharded one."""
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.detach().cpu()


def scattered(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, laid out over devices and processes like another one."""
    value = value.to(like.device)
    if isinstance(like, DTensor):
        return distribute_tensor(value, like.device_mesh, like.placements)
    return value
