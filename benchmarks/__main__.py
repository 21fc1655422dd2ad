"""Run a measurement: ``python -m benchmarks``, or with names, such as ``codec wire``.

Without names it compares the peers, and writes the figures into docs/ and the README. Progress goes to
stderr, tables to stdout.
"""

import sys
from argparse import ArgumentParser

from benchmarks import codec, cold_start, compression, digest, wire
from benchmarks.peers import report
from benchmarks.peers.run import MINUTES, REPETITIONS, run

TABLES = {
    "codec": codec.table,
    "cold_start": cold_start.table,
    "compression": compression.table,
    "digest": digest.table,
    "wire": wire.table,
}


def compare_peers(repetitions: int, minutes: float) -> None:
    """Compare the peers, and write the figures."""
    results = run(repetitions, minutes)
    report.show(results)
    report.write(results)


def main() -> None:
    """Read the arguments, and measure."""
    parser = ArgumentParser("python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"peers (the default), {', '.join(TABLES)}")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of the peers")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all repetitions")
    options = parser.parse_args()
    for name in options.names or ["peers"]:
        if name == "peers":
            compare_peers(options.repetitions, options.minutes)
        elif name in TABLES:
            print(f"measuring {name} …", file=sys.stderr)
            print(TABLES[name](), end="\n\n")
        else:
            parser.error(f"no measurement is named {name}")


if __name__ == "__main__":
    main()
