"""Measure VectorFlow: `python -m benchmarks NAME`."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from benchmarks.databases import LEDGERS
from benchmarks.measuring import Options, Result, show, write

BENCHMARKS: Mapping[str, str] = {
    "local": "files to stored vectors with the local model, beside a bare loop",
    "delta": "what a second run does: nothing changed, 1 % changed, one sentence inserted",
    "recovery": "how soon work goes on after a worker was killed, and what is done twice",
    "start": "how long commands take from a cold process",
    "api": "files to stored vectors with a provider over the network: cost and latency",
    "small_documents": "thousands of short documents, each answer durable",
    "chunkers": "text cut per CPU second, beside the chunkers of others",
    "extractors": "files of each type read per CPU second, beside the libraries of others",
    "peers": "the same files through other pipelines, in an environment of their own",
    "memory": "what a worker holds for a very large file, and an API while files come in",
    "sandbox": "what it costs to extract small files in children",
    "flood": "one tenant sends a flood: how long another waits for its documents",
    "cache": "what a vector from the cache costs, beside one from the local model",
    "ledger": "batches that workers finish in one job, and what is synced, by database",
    "growth": "whether a store of many records takes new ones as fast as a small one",
    "latency": "how soon the API answers and a search ends while all cores embed",
}
"""Modules of this package, each with a function `measure`."""


def main() -> int:
    """Run one benchmark; 1 if a goal was missed."""
    chosen = _arguments()
    measure: Callable[[Options], Result] = import_module(f"benchmarks.{chosen.name}").measure
    if chosen.data:
        chosen.data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vectorflow-bench-", dir=chosen.data) as scratch:
        options = Options(
            data=Path(scratch),
            quick=chosen.quick,
            documents=chosen.documents,
            database=chosen.database,
        )
        result = measure(options)
    show(result)
    if chosen.json:
        write(result, chosen.name, options, chosen.json)
    return 0 if all(goal.met for goal in result.goals) else 1


def _arguments() -> argparse.Namespace:
    listed = "\n".join(f"  {name:<10} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure VectorFlow on this machine.\n\n{listed}",
        epilog="Ends with 1 if a goal was missed. docs/reference/benchmarks.md tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=BENCHMARKS, metavar="NAME", help="what to measure")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here too")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where scratch folders are made (default: tmp)"
    )
    parser.add_argument(
        "--documents", type=int, metavar="N", help="how large the flood of `flood` is"
    )
    parser.add_argument(
        "--quick", action="store_true", help="less work, to see that all is well; no figures"
    )
    parser.add_argument(
        "--database",
        choices=LEDGERS,
        help="the only one of `ledger` and `recovery`; that of `flood` and `growth` (sqlite)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
