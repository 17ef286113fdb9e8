"""The only entry to dataset building, training and evaluation of Sim4Seg models.

Configuration is a YAML file plus key=value; data is a folder with m3ds/, named by `data=` or by
SIM4SEG_DATA (default ../shared).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from Sim4SegCore.errors import Sim4SegError
from training.commands import COMMANDS

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    modules = {name: importlib.import_module(f"training.commands.{name}") for name in COMMANDS}
    examples = "\n".join(f"  python training/run.py {m.EXAMPLE}" for m in modules.values())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command")
    for name, module in modules.items():
        module.configure(commands.add_parser(name, help=module.SUMMARY, description=module.__doc__))
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        modules[options.command].run(options)
    except Sim4SegError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("run.py: interrupted; what was saved is kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
