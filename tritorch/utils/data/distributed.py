"""The sampler that gives each of several processes its part of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

from ...ops import generator, random
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler):
    """Every `num_replicas`-th index of a common order, beginning with the one at `rank`.

    With `shuffle` the order is random, the same in all processes, from `seed` and the epoch that
    `set_epoch` sets. All parts are of one length: the last indices are left out with `drop_last`,
    else the first ones come twice.

    Raises:
        ValueError: without `num_replicas` or `rank` where no process group says them; a rank that
            is not below `num_replicas`.

    Example:
        >>> from tritorch.utils.data import DistributedSampler
        >>> [list(DistributedSampler(range(7), 3, rank, shuffle=False)) for rank in range(3)]
        [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        from ... import distributed

        replicas = distributed.get_world_size() if num_replicas is None else num_replicas
        place = distributed.get_rank() if rank is None else rank
        if not 0 <= place < replicas:
            raise ValueError(
                f"Invalid rank {place}, rank should be in the interval [0, {replicas - 1}]"
            )
        self.dataset, self.num_replicas, self.rank, self.epoch = dataset, replicas, place, 0
        self.shuffle, self.seed, self.drop_last = shuffle, seed, drop_last
        parts = len(dataset) / replicas
        self.num_samples = math.floor(parts) if drop_last else math.ceil(parts)
        self.total_size = self.num_samples * replicas

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.dataset)))
        if self.shuffle:
            source = generator.Generator()
            source.manual_seed(self.seed + self.epoch)
            order = random.randperm(len(order), generator=source).tolist()
        if not self.drop_last and order:
            order *= math.ceil(self.total_size / len(order))
        return iter(order[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the epoch; without it every epoch has the same."""
        self.epoch = epoch
