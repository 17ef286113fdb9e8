"""What the Slicer module is made of; one responsibility a file.

`planes`, `volumes`, `segments`, `reports` and `overlay` are the adapter: MRML and no Qt.
`connection` and `asking` talk to the service and know neither. `queries` leads one query from a
volume to nodes; `panel` is Qt and little else.
"""

import importlib.util
import sys
from pathlib import Path

# An installed extension has Sim4SegCore beside this package; a source tree one level up.
if importlib.util.find_spec("Sim4SegCore") is None:
    sys.path.append(str(Path(__file__).resolve().parents[2]))
