"""Formats a number of bytes for monitors, logs and commands."""

_STEP = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(size_bytes: float) -> str:
    """Format a size: ``57 bytes``, ``1.2 MiB``."""
    if size_bytes < _STEP:
        return f"{size_bytes:,.0f} byte{'s' * (round(size_bytes) != 1)}"
    number, units = size_bytes / _STEP, iter(_UNITS)
    unit = next(units)
    while round(number, 1) >= _STEP and (larger := next(units, None)):
        number, unit = number / _STEP, larger
    return f"{number:,.1f} {unit}"
