"""Embeddings of a frozen image encoder, computed once and kept in shards on disk.

SAM's ViT-H takes most of a training step and its output never changes while it is frozen and
every image is shown as it is. Shards are safetensors files, one half-precision tensor a record;
a run that is killed while computing goes on with the records that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError
from Sim4SegCore.frame import Frame
from Sim4SegCore.modeling.sim4seg import Sim4SegModel

from .parallel import World
from .records import Record
from .views import ImageStore, crop, whole

IDENTITY_FILE = "encoder.json"
SHARD_RECORDS = 64


class EmbeddingCache:
    """Reads embeddings by record id; shards are opened when they are first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: dict[str, Path] = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as shard:
                self._shards |= dict.fromkeys(shard.keys(), path)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._shards

    def __getitem__(self, record_id: str) -> Tensor:
        """(C, h, w), half precision.

        Raises:
            Sim4SegError: if it was never computed.
        """
        path = self._shards.get(record_id)
        if path is None:
            raise Sim4SegError(f"no embedding of {record_id} in {self.folder}")
        with safe_open(path, "pt") as shard:
            embedding: Tensor = shard.get_tensor(record_id)
        return embedding


def fill_cache(
    folder: Path,
    model: Sim4SegModel,
    records: Sequence[Record],
    store: ImageStore,
    world: World,
    batch_size: int = 4,
) -> EmbeddingCache:
    """Compute what is missing, each process its part, and open the cache.

    Args:
        folder: of the shards; made if it is not there.
        model: on the device of `world`; its segmenter's encoder is used.
        records: whose images are shown whole.

    Raises:
        Sim4SegError: if the folder was made with another encoder or image size, or the disk
            is full; shards that were written stay.
    """
    _check_identity(folder, model, world)
    known = EmbeddingCache(folder)
    missing = [record for record in records if record.id not in known]
    mine = missing[world.rank :: world.size]
    world.wait()
    shards = range(0, len(mine), SHARD_RECORDS)
    for start in tqdm(shards, unit="shard", desc="image embeddings", disable=not world.is_main):
        members = mine[start : start + SHARD_RECORDS]
        _write_shard(folder, _embed(model, members, store, batch_size))
    world.wait()
    return EmbeddingCache(folder)


@torch.inference_mode()
def _embed(
    model: Sim4SegModel, records: Sequence[Record], store: ImageStore, batch_size: int
) -> dict[str, Tensor]:
    side = model.config.segmenter.image_size
    embeddings: dict[str, Tensor] = {}
    for start in range(0, len(records), batch_size):
        members = records[start : start + batch_size]
        images, contents = [], []
        for record in members:
            image = store.image(record)
            frame = Frame.of_window(whole(image.shape), side)
            pixels = crop(image, frame, side)
            rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
            images.append(torch.from_numpy(rgb).permute(2, 0, 1))
            contents.append(frame.content)
        batch = torch.stack(images).to(model.device)
        found = model.sam_embedding(batch, None, torch.tensor(contents)).coarse
        embeddings |= {r.id: e.half().cpu() for r, e in zip(members, found, strict=True)}
    return embeddings


def _write_shard(folder: Path, embeddings: dict[str, Tensor]) -> None:
    name = hashlib.sha256("\n".join(embeddings).encode()).hexdigest()[:16]
    temporary = folder / f"{name}.partial"
    try:
        save_file({n: e.contiguous() for n, e in embeddings.items()}, temporary)
    except Exception as error:  # safetensors wraps the system's error in its own
        temporary.unlink(missing_ok=True)
        raise Sim4SegError(f"cannot write embeddings to {folder}: {error}") from None
    temporary.replace(folder / f"{name}.safetensors")


def _check_identity(folder: Path, model: Sim4SegModel, world: World) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, value in sorted(model.segmenter.image_encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().numpy().tobytes())
    identity = {"sha256": digest.hexdigest(), "image_size": model.config.segmenter.image_size}
    path = folder / IDENTITY_FILE
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != identity:
            raise Sim4SegError(
                f"{folder} holds embeddings of another image encoder; choose another folder"
            )
    elif world.is_main:
        path.write_text(json.dumps(identity), encoding="utf-8")
    world.wait()
