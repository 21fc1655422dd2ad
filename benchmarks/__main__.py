"""Run every measurement, with progress on stderr and tables on stdout."""

import sys

from benchmarks import codec, compression, digest, wire

for measurement in (codec, compression, digest, wire):
    print(f"measuring {measurement.__name__} …", file=sys.stderr)
    print(measurement.table(), end="\n\n")
