"""Slices that are read, and what is said of those between them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.volume.anchors import MAX_STRIDE, AnchoredReadings, anchor_numbers
from Sim4SegCore.volume.grounding import Reading

slice_numbers = st.sets(st.integers(0, 60), min_size=1).map(sorted)
distances = st.floats(0.1, 30.0)


@given(slice_numbers, distances)
def test_every_slice_lies_between_anchors_and_close_to_one(numbers, distance):
    anchors = anchor_numbers(numbers, distance)
    assert set(anchors) <= set(numbers)
    assert (anchors[0], anchors[-1]) == (numbers[0], numbers[-1])
    for number in numbers:
        assert min(abs(number - anchor) for anchor in anchors) < MAX_STRIDE


@given(slice_numbers, st.floats(3.1, 30.0))
def test_all_thick_slices_are_read(numbers, distance):
    assert anchor_numbers(numbers, distance) == numbers


def rising(numbers):
    """Says of a slice its number."""
    values = torch.tensor(numbers, dtype=torch.float32)
    return Reading(values[:, None, None].expand(-1, 2, 2), -values)


@given(slice_numbers, distances, st.integers(1, 9), st.integers(1, 9))
def test_what_changes_evenly_is_exact_between_anchors(numbers, distance, drawn_at_once, read_once):
    read = []

    def reads_some(anchors):
        read.extend(anchors[:read_once])
        return rising(anchors[:read_once])

    anchors = anchor_numbers(numbers, distance)
    readings = AnchoredReadings(anchors, reads_some)
    for start in range(0, len(numbers), drawn_at_once):
        part = numbers[start : start + drawn_at_once]
        while readings.last < part[-1]:
            readings.read_more()
        reading = readings.at(part)
        expected = torch.tensor(part, dtype=torch.float32)
        torch.testing.assert_close(reading.similarity, expected[:, None, None].expand(-1, 2, 2))
        torch.testing.assert_close(reading.presence_logits, -expected)
    assert readings.is_complete and read == anchors
