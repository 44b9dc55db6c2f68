#!/usr/bin/env python3
"""The keyed reduces, scans and TPC-H queries of `pelton bench` beside Polars, DuckDB and DataFusion, on the same seeded rows.

Usage: scripts/bench_beside_peers.py [--rows N] [--runs N] [--data FOLDER] [--pelton PROGRAM] [--json FILE] [CASE ...]
(--help tells all options)

A CASE is part of a case's name; without one, all run. The peers are Python packages (pip install polars duckdb datafusion
pyarrow numpy). Each case is one table of the columns that it needs, made from a seed and kept as a Parquet file in FOLDER, and
one query in SQL. Pelton (`pelton bench file`) runs it with exact and with ordered sums, the peers run it directly afterwards,
each from columns in memory to an answer in memory, with as many threads as there are cores. Every answer is compared with
DuckDB's: keys, whole numbers and decimals must be equal, floats within 1e-9; a wrong one ends the script with exit code 4.

The table has, for both kinds of sums, the best and the median time of Pelton, how many times as long the best peer takes
(median by median), and the share of the memory's speed, which `pelton bench` measures for itself.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy
import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

SEED = 7
BY_K = ["sum(i) as total", "avg(f) as mean", "count(*) as rows"]
Q1 = ["sum(l_quantity) as sum_qty", "sum(l_extendedprice) as sum_base_price",
      "sum(l_extendedprice * (1 - l_discount)) as sum_disc_price",
      "sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) as sum_charge",
      "avg(l_quantity) as avg_qty", "avg(l_extendedprice) as avg_price", "avg(l_discount) as avg_disc", "count(*) as orders"]
Q6 = ("l_shipdate >= date '1994-01-01' and l_shipdate < date '1995-01-01' "
      "and l_discount between 0.05 and 0.07 and l_quantity < 24")
# Name: table, filter, keys, aggregates, and how many times as fast as the best peer it should be, ordered and exact.
CASES = {
    "int/100": ("keyed", None, ["lo"], BY_K, 4.5, 3.3),
    "text/100": ("keyed", None, ["lo_text"], BY_K, 4, 3.3),
    "int/100k": ("keyed", None, ["mid"], BY_K, 6, 5),
    "int/100k/zipf1.0": ("keyed", None, ["zipf"], BY_K, None, None),
    "text/100k": ("keyed", None, ["mid_text"], BY_K, 4, 3.5),
    "sparse/5m": ("keyed", None, ["hi"], BY_K, 4, 3.5),
    "two": ("keyed", None, ["lo", "lo_text"], ["sum(i) as total"], 4, 4),
    "product": ("keyed", "i > 50000", ["mid"], ["sum(f * g) as product", "min(f) as least", "max(f) as most"], 5, 4),
    "scan": ("keyed", "i between 10000 and 60000", [], ["sum(f * g) as product"], 1.6, 1.4),
    "q1/decimal": ("lineitem", "l_shipdate <= date '1998-09-02'", ["l_returnflag", "l_linestatus"], Q1, 4, 3),
    "q1/float": ("lineitem_float", "l_shipdate <= date '1998-09-02'", ["l_returnflag", "l_linestatus"], Q1, 4, 3),
    "q6/decimal": ("lineitem", Q6, [], ["sum(l_extendedprice * l_discount) as revenue"], 2, 1.6),
    "q6/float": ("lineitem_float", Q6, [], ["sum(l_extendedprice * l_discount) as revenue"], 2, 1.6),
}
LINEITEM = ["l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_returnflag", "l_linestatus", "l_shipdate"]


def keyed(rows):
    """The columns of the keyed table, each made when it is asked for, from a seed of its own."""
    def draw(column):
        return numpy.random.default_rng([SEED, column])

    def words(word, column):
        names = numpy.array([f"{word}{key}" for key in range(100_000)])
        return pyarrow.DictionaryArray.from_arrays(keyed_columns[column](), pyarrow.array(names)).cast(pyarrow.string())

    def zipf():
        # Ranks by Zipf's law with exponent 1, spread over the range so that hot keys are no neighbours.
        weights = numpy.cumsum(1.0 / numpy.arange(1, 100_001))
        ranks = numpy.searchsorted(weights, draw(7).random(rows) * weights[-1])
        return pyarrow.array((ranks * 61_169 % 100_000).astype(numpy.int32))

    keyed_columns = {
        "lo": lambda: pyarrow.array(draw(0).integers(0, 100, rows, dtype=numpy.int32)),
        "mid": lambda: pyarrow.array(draw(1).integers(0, 100_000, rows, dtype=numpy.int32)),
        "hi": lambda: pyarrow.array(draw(2).integers(0, max(rows // 4, 1), rows, dtype=numpy.int64) * 7919),
        "i": lambda: pyarrow.array(draw(3).integers(-1000, 100_000, rows, dtype=numpy.int64)),
        "f": lambda: pyarrow.array(draw(4).normal(50, 20, rows)),
        "g": lambda: pyarrow.array(draw(5).random(rows, dtype=numpy.float32)),
        "zipf": zipf,
        "lo_text": lambda: words("city", "lo"),
        "mid_text": lambda: words("id", "mid"),
    }
    return keyed_columns


def table(options, case):
    """The Parquet file of a case's columns, made if it is not there."""
    kind, where, keys, aggregates = CASES[case][:4]
    rows = options.rows
    if kind == "keyed":
        columns = keys + [column for column in "ifg" if any(f"({column}" in a or f" {column})" in a for a in aggregates)
                          or where and where.startswith(f"{column} ")]
        file = options.data / f"keyed_{rows}_{'_'.join(columns)}.parquet"
        if not file.exists():
            made = keyed(rows)
            write(pyarrow.table({column: made[column]() for column in columns}), file)
        return file
    file = options.data / f"{kind}_{rows}.parquet"
    if not file.exists():
        whole = options.data / f"whole_lineitem_{rows}.parquet"
        scale = str(rows / 6_001_215)
        subprocess.run([options.pelton, "generate", "lineitem", "--scale", scale, "--format", "parquet", "--out", whole], check=True)
        lines = pyarrow.parquet.read_table(whole, columns=LINEITEM)
        whole.unlink()
        if kind == "lineitem_float":
            floats = [pyarrow.field(f.name, pyarrow.float64()) if pyarrow.types.is_decimal(f.type) else f for f in lines.schema]
            lines = lines.cast(pyarrow.schema(floats))
        write(lines, file)
    return file


def write(made, file):
    half = file.with_suffix(".half")
    pyarrow.parquet.write_table(made, half, compression="none", use_dictionary=False)
    half.rename(file)


def pelton(options, case, file, floats, batch_rows=None):
    """What `pelton bench file` says of the case, and its answer."""
    where, keys, aggregates = CASES[case][1:4]
    report, answer = options.data / "report.json", options.data / "answer.arrow"
    command = [options.pelton, "bench", "file", file, "--runs", str(options.runs), "--floats", floats, "--json", report]
    command += [] if options.unchecked else ["--answer", answer]
    command += ["--filter", where] if where else []
    command += [part for key in keys for part in ("--key", key)]
    command += [part for one in aggregates for part in ("--aggregate", one)]
    command += ["--batch-rows", str(batch_rows)] if batch_rows else []
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{case}: pelton ended with {done.returncode}: {done.stderr.strip()}")
    found = json.loads(report.read_text())
    given = None if options.unchecked else pyarrow.ipc.open_file(pyarrow.memory_map(str(answer))).read_all()
    return found["results"][0], found["machine"], given


def peers(options, case, rows):
    """Each peer's name and a function that runs the case, on rows in the layout that the peer likes best."""
    import datafusion
    import duckdb
    import polars

    where, keys, aggregates = CASES[case][1:4]
    query = f"select {', '.join(keys + aggregates)} from rows"
    query += f" where {where}" if where else ""
    query += f" group by {', '.join(keys)}" if keys else ""
    frame = polars.from_arrow(rows).rechunk()
    context = polars.SQLContext(rows=frame.lazy())
    # Its sums of products of decimals are rounded; the same query on floats stands for it.
    if not any(pyarrow.types.is_decimal(field.type) for field in rows.schema):
        lazy = context.execute(query)
        yield "Polars", lambda: lazy.collect()
        del lazy
    del frame, context
    connection = duckdb.connect()
    connection.register("arrow_rows", rows)
    connection.execute("create table rows as select * from arrow_rows")
    yield "DuckDB", lambda: connection.sql(query).to_arrow_table()
    connection.close()
    session = datafusion.SessionContext()
    batches, cores = rows.combine_chunks().to_batches(max_chunksize=8192), os.cpu_count()
    parts = [batches[part * len(batches) // cores:(part + 1) * len(batches) // cores] for part in range(cores)]
    session.register_record_batches("rows", [part for part in parts if part])
    yield "DataFusion", lambda: session.sql(query).collect()


def medians(options, case, rows):
    """The median of each peer in milliseconds, and DuckDB's answer."""
    times, answer = {}, None
    for name, run in peers(options, case, rows):
        took = []
        try:
            for _ in range(options.runs + 1):
                started = time.perf_counter()
                given = run()
                took.append(1e3 * (time.perf_counter() - started))
        except Exception as error:  # each peer has errors of its own
            if name == "DuckDB":
                raise
            print(f"{case}: {name} refuses: {error}", file=sys.stderr)
            continue
        times[name] = statistics.median(took[1:])
        answer = given if name == "DuckDB" else answer
    return times, answer


def check(case, keys, ours, theirs):
    """Compares two answers, group by group."""
    def wrong(what):
        print(f"{case}: {what}", file=sys.stderr)
        sys.exit(4)

    if ours.num_rows != theirs.num_rows:
        wrong(f"{ours.num_rows} rows instead of {theirs.num_rows}")
    by = [(ours.column_names[place], "ascending") for place in range(keys)]
    theirs = theirs.rename_columns(ours.column_names)
    ours, theirs = (answer.sort_by(by) if keys else answer for answer in (ours, theirs))
    for name in ours.column_names:
        left, right = ours[name].combine_chunks(), theirs[name].combine_chunks()
        if pyarrow.types.is_floating(left.type) or pyarrow.types.is_floating(right.type):
            left, right = (column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False) for column in (left, right))
            same = numpy.isclose(left, right, rtol=1e-9, atol=1e-7, equal_nan=True)
        else:
            # Sums of integers and decimals have other widths elsewhere.
            same = pyarrow.compute.equal(left, right.cast(left.type)).to_numpy(zero_copy_only=False)
        if not same.all():
            row = int(numpy.argmin(same))
            wrong(f"{name} of row {row} is {left[row]} instead of {right[row]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="part of a case's name")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("/tmp/pelton-bench-data"))
    parser.add_argument("--pelton", type=Path, default=Path("target/release/pelton"))
    parser.add_argument("--micro", type=int, default=65_536, help="rows of a micro-batch; 0 leaves them out")
    parser.add_argument("--json", type=Path, help="appends an object a line for each case")
    parser.add_argument("--unchecked", action="store_true", help="compares no answers: for a pelton without --answer")
    parser.add_argument("--only-data", action="store_true", help="makes the tables and measures nothing")
    options = parser.parse_args()
    wanted = [case for case in CASES if not options.cases or any(part in case for part in options.cases)]
    if not wanted:
        sys.exit(f"no case is called so; there are {', '.join(CASES)}")
    options.data.mkdir(parents=True, exist_ok=True)
    files = {case: table(options, case) for case in wanted}
    if options.only_data:
        return
    print(f"{options.rows} rows; milliseconds, best / median of {options.runs}; peers: median\n")
    print("| case | ordered | × | wanted | exact | × | wanted | micro-batches | share of memory | peers |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for case in wanted:
        found = {"case": case, "rows": options.rows}
        answers = []
        for floats in ("ordered", "exact"):
            found[floats], found["machine"], answer = pelton(options, case, files[case], floats)
            answers.append(answer)
        if options.micro:
            found["micro"], _, answer = pelton(options, case, files[case], "exact", options.micro)
            answers.append(answer)
        rows = pyarrow.parquet.read_table(files[case])
        found["peers"], theirs = medians(options, case, rows)
        for answer in answers if not options.unchecked else []:
            check(case, len(CASES[case][2]), answer, theirs)
        best = min(found["peers"], key=found["peers"].get)
        found["best_peer"] = best

        def timed(kind):
            line = found[kind]
            return f"{1e3 * line['best_seconds']:.1f} / {1e3 * line['median_seconds']:.1f}"

        def times(kind):
            return f"{found['peers'][best] / 1e3 / found[kind]['median_seconds']:.1f}"

        shares = " / ".join(f"{100 * found[kind]['share_of_memory']:.0f} %" for kind in ("ordered", "exact"))
        micro = f"{found['micro']['median_seconds'] / found['exact']['median_seconds']:.2f}" if options.micro else "-"
        others = ", ".join(f"{name} {ms:.0f}" for name, ms in found["peers"].items())
        goals = [str(goal) if goal else "-" for goal in CASES[case][4:]]
        print(f"| {case} | {timed('ordered')} | {times('ordered')} | {goals[0]} | {timed('exact')} | {times('exact')} | "
              f"{goals[1]} | × {micro} | {shares} | {others} |", flush=True)
        if options.json:
            with options.json.open("a") as lines:
                lines.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
