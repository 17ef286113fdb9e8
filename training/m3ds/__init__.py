"""Public downloads in their original layouts become M3DS records.

sets → source (cases as the download describes them) → split → convert → duplicates → report

`sets/` knows layouts and nothing else; every other file knows nothing of any set. A set of your
own is a `Source` with `@register` in a file that `plugins:` of the configuration names.
"""
