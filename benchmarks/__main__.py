"""Run a measurement: ``python -m benchmarks``, or with names, such as ``codec wire``.

Without names it compares the peers, and writes the figures into docs/ and the README. ``--only`` measures
some scenarios and writes nothing. Progress goes to stderr, tables to stdout.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from benchmarks import codec, cold_start, compression, digest, wire
from benchmarks.harness import report
from benchmarks.harness.run import MINUTES, REPETITIONS, run
from benchmarks.harness.scenarios import SCENARIOS
from benchmarks.scale import report as scale
from benchmarks.scaling import report as scaling

TABLES = {
    "codec": codec.table,
    "cold_start": cold_start.table,
    "compression": compression.table,
    "digest": digest.table,
    "scale": scale.table,
    "scaling": scaling.table,
    "wire": wire.table,
}
NAMES = [scenario.name for scenario in SCENARIOS]


def compare_peers(options: Namespace) -> None:
    """Compare the peers; write the figures of all scenarios, or only show those of some."""
    chosen = [each for each in SCENARIOS if each.name in (options.only or NAMES)]
    results = run(chosen, options.repetitions, options.minutes)
    report.show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if not options.only:
        report.write(results)


def main() -> None:
    """Read the arguments, and measure."""
    parser = ArgumentParser("python -m benchmarks")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"peers (the default), pages (writes the last figures into docs/ again), {', '.join(TABLES)}",
    )
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="SCENARIO", help=f"of peers: {', '.join(NAMES)}"
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="of the peers")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all repetitions")
    parser.add_argument("--json", type=Path, help="write the figures into this file, too")
    options = parser.parse_args()
    for name in options.names or ["peers"]:
        if name == "peers":
            compare_peers(options)
        elif name == "pages":
            report.write(json.loads(report.RESULTS.read_text()))
        elif name in TABLES:
            print(f"measuring {name} …", file=sys.stderr)
            print(TABLES[name](), end="\n\n")
        else:
            parser.error(f"no measurement is named {name}")


if __name__ == "__main__":
    main()
