"""The scorecard from the command line: which tables there are, and one of them on your encoder and data."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """0 if all went well, 1 if files or weights are not at hand, 2 for what cannot be."""
    options = _parser().parse_args(arguments)

    from geoclip_lite.encoders import WeightsError
    from geoclip_lite.scorecard.page import summary
    from geoclip_lite.scorecard.paper import about, tables
    from geoclip_lite.scorecard.running import FOLDER, read_run, run, sets_for
    from geoclip_lite.scorecard.sets import SetMissingError

    if options.command == "list":
        for table in tables():
            print(f"table {table}: {', '.join(dict.fromkeys(about(table).data))}; runs on", end=" ")
            print(", ".join(sets_for(table)))
        return 0
    try:
        path = run(
            options.table,
            options.encoder,
            options.data_set,
            folder=options.data,
            queries=options.queries,
            seeds=range(options.seeds),
            out=options.out or FOLDER,
        )
    except (SetMissingError, WeightsError) as error:
        print(f"not at hand: {error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(summary(read_run(path)), path, sep="\n\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m geoclip_lite.scorecard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the tables, and what each can be run on")
    one = commands.add_parser("run", help="measure one table and write a results file")
    one.add_argument("table", help="1 to 7, J, or report")
    one.add_argument("--encoder", default="mini-pairs", help="default: %(default)s")
    one.add_argument("--data-set", help="where a table has several; default: the first")
    one.add_argument("--data", default="data", help="folder of the data sets; default: %(default)s")
    one.add_argument("--queries", type=int, help="only the first so many")
    one.add_argument("--seeds", type=int, default=3, help="of folds and adapters; default: %(default)s")
    one.add_argument("--out", help="folder for the results file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
