"""Shares of a cohort for job arrays: which study belongs to which part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..errors import Sim4SegError


@dataclass(frozen=True)
class Part:
    """One of `count` shares; the whole cohort is part 0 of 1.

    Raises:
        Sim4SegError: if there is no such part.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise Sim4SegError(
                f"there is no part {self.index} of {self.count}; --part-id counts from 0 "
                "to one less than --num-parts"
            )

    @property
    def is_whole(self) -> bool:
        """Whether there are no other parts."""
        return self.count == 1

    @property
    def suffix(self) -> str:
        """What the part's own files have in their names."""
        return "" if self.is_whole else f".part-{self.index}-of-{self.count}"

    def holds(self, study: str) -> bool:
        """Decided by the id alone, so that a growing cohort moves no study to another part."""
        digest = hashlib.sha256(study.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index
