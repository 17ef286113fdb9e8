"""`sim4seg batch`: the same queries about many studies, resumable after a kill at any point.

studies · queries → plan → running (read, infer, write) → manifest → table · contact sheet

Knows nothing of how the model works: it asks whatever has `set_image`, `ask` and
`segment_volume`.
"""
