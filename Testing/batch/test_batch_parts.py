"""Parts of a cohort, joined, are the whole."""

import pytest
from batch_helpers import draw, read_table
from hypothesis import given
from hypothesis import strategies as st

from Sim4SegCore.batch.layout import Layout, locked
from Sim4SegCore.batch.parts import Part
from Sim4SegCore.errors import Sim4SegError

QUERY = ("--query", "Is there a lesion?")


def part(index, count=2):
    return ("--part-id", index, "--num-parts", count)


@given(study=st.text(), count=st.integers(1, 9))
def test_every_study_is_in_one_part(study, count):
    assert sum(Part(index, count).holds(study) for index in range(count)) == 1


def test_merged_parts_equal_the_whole(cohort, batch, tmp_path):
    (cohort / "broken.png").write_bytes(b"broken")
    assert batch(cohort, *QUERY, out=tmp_path / "whole")[0] == 3
    codes = [batch(cohort, *QUERY, *part(index))[0] for index in (1, 0)]
    assert sorted(codes) in ([0, 3], [3, 3])
    out = tmp_path / "out"
    shares = [read_table(out, f"results.part-{index}-of-2.csv") for index in (0, 1)]
    assert all(shares) and len(shares[0]) + len(shares[1]) == 6
    assert batch("--merge")[0] == 3
    for name in ("results.csv", "results.parquet", "contact_sheet_001.png"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_unfinished_missing_running_and_foreign_parts_are_not_merged(cohort, batch, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(Sim4SegError, match="no parts"):
        batch("--merge")
    batch(cohort, *QUERY, *part(0))
    with pytest.raises(Sim4SegError, match="part 1 was never started"):
        batch("--merge")
    batch(cohort, *QUERY, *part(1))
    manifest = Layout(out, Part(1, 2)).manifest
    lines = manifest.read_bytes()
    manifest.write_bytes(lines[:-5])
    with pytest.raises(Sim4SegError, match="part 1 has 1 of 1 "):
        batch("--merge")
    manifest.write_bytes(lines)
    with locked(Layout(out, Part(1, 2))), pytest.raises(Sim4SegError, match="another batch"):
        batch("--merge")
    assert batch("--merge")[0] == 0
    draw(cohort / "new.png", 50)
    batch(cohort, *QUERY, *part(1))
    with pytest.raises(Sim4SegError, match="not of the same studies"):
        batch("--merge")


def test_one_folder_is_divided_in_one_way(cohort, batch):
    batch(cohort, *QUERY, *part(0))
    with pytest.raises(Sim4SegError, match="divided into 2 parts"):
        batch(cohort, *QUERY)
    with pytest.raises(Sim4SegError, match="divided into 2 parts"):
        batch(cohort, *QUERY, *part(0, 3))


def test_parts_resume_on_their_own(cohort, batch):
    first = batch(cohort, *QUERY, *part(0))[1]
    second = batch(cohort, *QUERY, *part(1))[1]
    assert sorted(first.encoded + second.encoded) == ["a.png", "a.png", "b.png", "z.jpg", "Ä ö.png"]
    assert batch(cohort, *QUERY, *part(0))[1].asked == []
