"""From configuration to a finished M3DS folder."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from Sim4SegCore.errors import Sim4SegError

from .config import PrepareConfig, SetConfig
from .contact_sheet import write_contact_sheet
from .convert import Built, Task, convert, slug
from .duplicates import cross_split_duplicates
from .registry import load_plugins, source_class
from .report import DUPLICATE, Report
from .source import SPLITS, RawCase, Skipped, Source, Split
from .split import assign_splits, leaks
from .staging import staged_folder
from .statistics import write_statistics

CHUNK = 8
"""Cases that a worker takes at a time: few enough for an even progress bar."""


def build(config: PrepareConfig) -> tuple[Path, Report]:
    """Build all sets of a configuration.

    Returns:
        The finished folder, with train.jsonl, val.jsonl, test.jsonl, images/, masks/,
        STATISTICS.md, contact_sheet.png, skipped.csv and build.json, and what happened.

    Raises:
        Sim4SegError: for whatever the user can mend; the output is then as it was before.
    """
    load_plugins(config.plugins)
    report = Report()
    sources = find_sources(config, report)
    target = Path(config.output) / "m3ds"
    with staged_folder(target, config.overwrite) as folder:
        cases = _list_cases(sources, config, report)
        tasks = _plan(sources, cases, config, report, folder)
        _convert_all(tasks, config, report)
        for name in sources:
            report.check_skipped(name, _count(report, name), config.max_skipped)
        _remove_duplicates(config, report, folder)
        report.check_splits([s for s, f in config.fractions.as_dict().items() if f > 0])
        report.write(folder)
        write_statistics(report, {n: s.licence for n, s in sources.items()}, folder)
        write_contact_sheet(report.built, folder, config.examples)
        settings = dataclasses.asdict(config)
        (folder / "build.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
    return target, report


def find_sources(config: PrepareConfig, report: Report) -> dict[str, Source]:
    """Readers of the sets to build, by name.

    Raises:
        Sim4SegError: for an unknown set, or a folder that is not there.
    """
    for name in config.only:
        if name not in config.sets:
            raise Sim4SegError(f"'{name}' in only= is not among sets: {', '.join(config.sets)}")
    chosen = {
        name: entry
        for name, entry in config.sets.items()
        if (name in config.only if config.only else entry.enabled)
    }
    if not chosen:
        raise Sim4SegError("no set to build; start from training/configs/m3ds.yaml")
    sources = {name: _source(name, entry, config) for name, entry in chosen.items()}
    absent = [name for name, source in sources.items() if not source.is_there]
    if absent and (config.missing == "error" or len(absent) == len(sources)):
        first = sources[absent[0]]
        raise Sim4SegError(
            f"{len(absent)} of {len(sources)} downloads are missing: {', '.join(absent)}. The "
            f"first belongs in {first.folder} ({first.download}). Unpack them, name those you "
            "have with only=[…], or leave out what is not there with missing=skip"
        )
    report.missing = absent
    return {name: source for name, source in sources.items() if name not in absent}


def _source(name: str, entry: SetConfig, config: PrepareConfig) -> Source:
    folder = Path(config.downloads).expanduser() / (entry.folder or name)
    return source_class(entry.kind or name)(name, folder)


def _list_cases(
    sources: dict[str, Source], config: PrepareConfig, report: Report
) -> dict[str, list[RawCase]]:
    """Cases of each set; the set is given up before any work if too many are unusable."""
    cases: dict[str, list[RawCase]] = {}
    for name, source in tqdm(sources.items(), desc="read annotations", unit="set"):
        cases[name], report.skipped[name] = [], []
        seen: set[str] = set()
        for item in source.cases():
            if isinstance(item, RawCase) and slug(item.id) in seen:
                item = Skipped(item.id, "name that another image of the set has, too")
            if isinstance(item, Skipped):
                report.skipped[name].append(item)
            else:
                seen.add(slug(item.id))
                official = item.split if config.official_splits else None
                cases[name].append(dataclasses.replace(item, split=official))
        found = len(cases[name]) + len(report.skipped[name])
        report.check_skipped(name, found, config.max_skipped)
    return cases


def _plan(
    sources: dict[str, Source],
    cases: dict[str, list[RawCase]],
    config: PrepareConfig,
    report: Report,
    folder: Path,
) -> list[Task]:
    splits = assign_splits(cases, config.fractions.as_dict(), config.seed)
    tasks = []
    for name, source in sources.items():
        for kind in ("images", "masks"):
            (folder / kind / name).mkdir(parents=True)
        report.left_out[name] = leaks(cases[name], splits)
        leaked = {item.case for item in report.left_out[name]}
        side = config.sets[name].longest_side or config.longest_side
        tasks += [
            Task(
                case=case,
                dataset=name,
                split=splits[case.group],
                modality=case.modality or source.modality,
                body_part=case.body_part or source.body_part,
                licence=case.licence or source.licence,
                longest_side=side,
                quality=config.jpeg_quality,
                folder=folder,
            )
            for case in cases[name]
            if case.id not in leaked
        ]
    return tasks


def _convert_all(tasks: Sequence[Task], config: PrepareConfig, report: Report) -> None:
    workers = min(config.workers or os.cpu_count() or 1, max(1, len(tasks) // CHUNK))
    results = _in_processes(tasks, workers, config) if workers > 1 else map(convert, tasks)
    progress = tqdm(results, desc="convert", total=len(tasks), unit="image")
    for task, result in zip(tasks, progress, strict=True):
        if isinstance(result, Skipped):
            report.skipped[task.dataset].append(result)
        else:
            report.built.append(result)


def _in_processes(
    tasks: Sequence[Task], workers: int, config: PrepareConfig
) -> Iterator[Built | Skipped]:
    # Forked workers would inherit the locks of threads that do not run in them. Spawned ones know
    # a plugin's own kinds of mask only after they have imported it, too.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, load_plugins, (config.plugins,)) as pool:
        try:
            yield from pool.map(convert, tasks, chunksize=CHUNK)
        except BrokenProcessPool:
            raise Sim4SegError(
                "a worker process died, most likely for lack of memory; try workers=1"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _count(report: Report, dataset: str) -> int:
    built = sum(item.record["dataset"] == dataset for item in report.built)
    return built + len(report.skipped[dataset])


def _remove_duplicates(config: PrepareConfig, report: Report, folder: Path) -> None:
    if not report.built:
        return
    splits: list[Split] = [item.record["split"] for item in report.built]
    assert set(splits) <= set(SPLITS)
    thumbnails = np.stack([item.thumbnail for item in report.built])
    repeated = cross_split_duplicates(thumbnails, splits, config.duplicate_correlation)
    for row, other in repeated.items():
        record = report.built[row].record
        reason = f"{DUPLICATE}: {report.built[other].record['id']}"
        report.left_out[record["dataset"]].append(Skipped(record["id"], reason))
        for file in (record["image"], *(f["mask"] for f in record["findings"] or ())):
            (folder / file).unlink()
    report.built = [item for row, item in enumerate(report.built) if row not in repeated]
