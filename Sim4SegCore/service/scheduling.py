"""Whose turn is it? First every token in turn, then every client of that token. And where?"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
Lane = tuple[str, str]
PATIENCE = 1
"""Jobs more than elsewhere that a query waits for rather than have its image encoded again."""
MAX_HOMES = 4096


class FairQueue(Generic[T]):
    """A queue that serves lanes in turn, however many items one of them has put in.

    A lane is (owner, client): owners take turns, and the clients of an owner take turns within
    its turns, so that nobody gains by pretending to be many.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[str, OrderedDict[str, deque[T]]] = OrderedDict()
        self._ready = threading.Condition()
        self._closed = False

    def put(self, lane: Lane, item: T) -> None:
        """Add an item at the end of its lane."""
        owner, client = lane
        with self._ready:
            self._owners.setdefault(owner, OrderedDict()).setdefault(client, deque()).append(item)
            self._ready.notify()

    def take(self, seconds: float | None = None) -> T | None:
        """The next item, waiting for one; None when the queue is closed, or the time is over."""
        with self._ready:
            self._ready.wait_for(lambda: self._owners or self._closed, seconds)
            if self._closed or not self._owners:
                return None
            owner, clients = self._owners.popitem(last=False)
            client, items = clients.popitem(last=False)
            item = items.popleft()
            if items:
                clients[client] = items
            if clients:
                self._owners[owner] = clients
            return item

    def remove(self, lane: Lane, item: T) -> bool:
        """Take an item out; False if it is not waiting any more."""
        owner, client = lane
        with self._ready:
            clients = self._owners.get(owner, OrderedDict())
            items = clients.get(client, deque())
            if item not in items:
                return False
            items.remove(item)
            if not items:
                del clients[client]
            if not clients:
                del self._owners[owner]
            return True

    def before(self, item: T) -> list[T] | None:
        """The items that will be taken before this one; None if it is not waiting."""
        earlier: list[T] = []
        with self._ready:
            for waiting in self._order():
                if waiting is item:
                    return earlier
                earlier.append(waiting)
        return None

    def close(self) -> None:
        """Wake everyone who waits; nothing is given out any more."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is given out any more."""
        return self._closed

    def __len__(self) -> int:
        with self._ready:
            return sum(len(q) for clients in self._owners.values() for q in clients.values())

    def _order(self) -> Iterator[T]:
        """Items as `take` would give them out if nothing were added."""
        owners = deque(
            deque(deque(items) for items in clients.values()) for clients in self._owners.values()
        )
        while owners:
            clients = owners.popleft()
            items = clients.popleft()
            yield items.popleft()
            if items:
                clients.append(items)
            if clients:
                owners.append(clients)


class Homes:
    """Sends what is asked about one image to one device, which then has it encoded."""

    def __init__(self) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def choose(self, image: str, loads: Mapping[str, int]) -> str:
        """
        Args:
            image: its hash.
            loads: device -> jobs that wait or run there.

        Returns:
            The image's device, unless it is much busier than another one.
        """
        idlest = min(loads, key=lambda device: loads[device])
        with self._lock:
            home = self._homes.get(image, idlest)
            if loads.get(home, math.inf) <= loads[idlest] + PATIENCE:
                self._homes[image] = home
            else:
                self._homes[image] = home = idlest
            self._homes.move_to_end(image)
            if len(self._homes) > MAX_HOMES:
                self._homes.popitem(last=False)
            return home
