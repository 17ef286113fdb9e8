"""What `training/run.py` can do: one module a command, each with

SUMMARY                    one line for the overview
EXAMPLE                    a command line that works
configure(parser)          adds the arguments; imports nothing heavy
run(options)               does the work; raises Sim4SegError for what the user can mend
"""

COMMANDS = (
    "slices",
    "prepare",
    "cot",
    "review",
    "draw",
    "train",
    "export",
    "volumetric",
    "align",
    "familiarity",
    "evaluate",
    "outside",
    "scaling",
    "obedience",
    "robustness",
    "ablate",
    "baseline",
)
"""Names of the modules, in the order in which a researcher needs them."""
