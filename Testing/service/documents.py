"""Two documents of results, taken apart: numbers differ in the last digit between processes."""


def numbers_in(values):
    """All numbers, however deep, in order."""
    if isinstance(values, dict | list):
        parts = values.values() if isinstance(values, dict) else values
        return [number for part in parts for number in numbers_in(part)]
    return [values] if isinstance(values, int | float) else []


def without_numbers(values):
    """The same with None for every number."""
    if isinstance(values, dict):
        return {key: without_numbers(value) for key, value in values.items()}
    if isinstance(values, list):
        return [without_numbers(value) for value in values]
    return None if isinstance(values, int | float) else values
