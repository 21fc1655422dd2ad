"""Resident memory of processes, as Linux counts it."""

import re
from pathlib import Path


def resident_bytes(pid: int | str = "self") -> int:
    """Return what is resident now.

    Raises:
        RuntimeError: the process has ended.
    """
    return _status("VmRSS", pid)


def peak_bytes(pid: int | str = "self") -> int:
    """Return the most that was resident since the start or :func:`reset_peak`."""
    return _status("VmHWM", pid)


def reset_peak(pid: int | str = "self") -> None:
    """Let the peak begin anew at what is resident now. Source: proc(5), ``clear_refs``."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(name: str, pid: int | str) -> int:
    try:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        found = None
    if not found:
        raise RuntimeError(f"process {pid} has ended")
    return 1_024 * int(found[1])
