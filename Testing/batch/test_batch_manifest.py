"""The manifest remembers every whole line and nothing else."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Sim4SegCore.batch.manifest import DONE, FAILED, Manifest, Outcome, load_outcomes

ROOMY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@st.composite
def outcomes(draw):
    failed = draw(st.booleans())
    return Outcome(
        study=draw(st.text(max_size=8)),
        query_name=draw(st.text(max_size=8)),
        query=draw(st.text(max_size=20)),
        input=draw(st.text(alphabet="0123456789abcdef", max_size=8)),
        model_sha256="sha",
        status=FAILED if failed else DONE,
        reason=draw(st.text(max_size=20)) if failed else "",
        seconds=draw(st.floats(0, 1e6)),
        answer={} if failed else {"diagnosis": draw(st.text(max_size=8)), "area_px": 3.0},
    )


def expected(lines):
    return {outcome.key: outcome for outcome in lines}


def write(path, lines):
    path.unlink(missing_ok=True)
    ends = [0]
    with Manifest(path) as manifest:
        for outcome in lines:
            manifest.append(outcome)
            ends.append(path.stat().st_size)
    return ends


@ROOMY
@given(lines=st.lists(outcomes(), max_size=6))
def test_what_was_appended_is_read_again(lines, tmp_path):
    path = tmp_path / "manifest.jsonl"
    write(path, lines)
    with Manifest(path) as manifest:
        assert manifest.outcomes == expected(lines)
    assert load_outcomes(path) == expected(lines)


@ROOMY
@given(lines=st.lists(outcomes(), min_size=1, max_size=5), data=st.data())
def test_a_tail_torn_at_any_byte_costs_only_its_own_line(lines, data, tmp_path):
    path = tmp_path / "manifest.jsonl"
    ends = write(path, lines)
    cut = data.draw(st.integers(0, ends[-1]))
    path.write_bytes(path.read_bytes()[:cut])
    whole = sum(end <= cut for end in ends) - 1
    with Manifest(path) as manifest:
        assert manifest.outcomes == expected(lines[:whole])
        for outcome in lines[whole:]:
            manifest.append(outcome)
    assert load_outcomes(path) == expected(lines)
    assert path.stat().st_size == ends[-1]


@ROOMY
@given(lines=st.lists(outcomes(), max_size=4), junk=st.binary(max_size=40), data=st.data())
def test_lines_that_a_power_cut_spoilt_are_passed_over(lines, junk, data, tmp_path):
    path = tmp_path / "manifest.jsonl"
    ends = write(path, lines)
    place = data.draw(st.sampled_from(ends))
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + junk + b"\n" + whole[place:])
    with Manifest(path) as manifest:
        assert manifest.outcomes == expected(lines)


@pytest.mark.parametrize(
    "change",
    [{"status": "half"}, {"study": ["a"]}, {"answer": None}, {"seconds": "1"}, {"extra": 1}],
)
def test_lines_of_another_form_are_passed_over(change, tmp_path):
    path = tmp_path / "manifest.jsonl"
    write(path, [Outcome("a", "q", "?", "0", "sha", DONE, "", 1.0, {})])
    line = json.loads(path.read_text())
    path.write_text(json.dumps(line | change) + "\n")
    with Manifest(path) as manifest:
        assert manifest.outcomes == {}


def test_the_latest_outcome_of_a_task_counts(tmp_path):
    path = tmp_path / "manifest.jsonl"
    first = Outcome("a", "q", "?", "0", "sha", FAILED, "no", 1.0, {})
    second = Outcome("a", "q", "?", "0", "sha", DONE, "", 2.0, {})
    write(path, [first, second])
    assert load_outcomes(path) == {("a", "q"): second}
