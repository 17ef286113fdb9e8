"""Turns and caches by themselves."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.service.caching import ByteCache, bytes_within
from Sim4SegCore.service.scheduling import FairQueue

LANES = st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"))


def drain(queue):
    return [queue.take() for _ in range(len(queue))]


@given(st.lists(LANES, max_size=30))
def test_everything_comes_out_once_in_order_of_its_lane_and_as_foretold(lanes):
    queue = FairQueue()
    items = [(lane, number) for number, lane in enumerate(lanes)]
    for item in items:
        queue.put(item[0], item)
    foretold = sorted(items, key=lambda item: len(queue.before(item)))
    taken = drain(queue)
    assert taken == foretold
    assert sorted(taken, key=lambda item: item[1]) == items
    for lane in set(lanes):
        own = [number for other, number in taken if other == lane]
        assert own == sorted(own)


def test_owners_take_turns_however_many_clients_they_pretend_to_be():
    queue = FairQueue()
    for number in range(30):
        queue.put(("crowd", f"client-{number % 10}"), ("crowd", number))
    for number in range(3):
        queue.put(("single", "one"), ("single", number))
    owners = [owner for owner, _ in drain(queue)]
    assert owners[:6] == ["crowd", "single"] * 3


@given(st.lists(LANES, min_size=1, max_size=20), st.data())
def test_what_is_removed_does_not_come_out(lanes, data):
    queue = FairQueue()
    items = [(lane, number) for number, lane in enumerate(lanes)]
    for item in items:
        queue.put(item[0], item)
    gone = data.draw(st.sampled_from(items))
    assert queue.remove(gone[0], gone)
    assert not queue.remove(gone[0], gone)
    assert queue.before(gone) is None
    assert gone not in drain(queue)


def test_closing_wakes_whoever_waits():
    queue = FairQueue()
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(2)
    assert taken == [None]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=60))
def test_a_cache_never_holds_more_than_its_budget_and_keeps_the_newest(puts):
    cache = ByteCache(100)
    sizes = {}
    for key, size in puts:
        cache.put(key, f"value {key}", size)
        sizes[key] = size
        assert cache.size <= 100
        assert cache.get(key) == f"value {key}"
        assert cache.size == sum(sizes[k] for k in range(10) if k in cache._values)


def test_what_is_larger_than_the_budget_is_not_kept_and_costs_nothing():
    cache = ByteCache(10)
    cache.put("a", 1, 5)
    cache.put("b", 2, 11)
    assert cache.get("b") is None
    assert cache.get("a") == 1


def test_bytes_are_counted_once_wherever_they_hang():
    import dataclasses

    import numpy as np
    import torch

    @dataclasses.dataclass
    class Holder:
        parts: list
        self_again: object = None

    tensor = torch.zeros(10)
    holder = Holder([tensor, (tensor, {"a": np.zeros(4, np.uint8)})])
    holder.self_again = holder
    assert bytes_within(holder) == 44
