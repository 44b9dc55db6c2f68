#!/usr/bin/env python3
"""Queries over files, read anew in each run, by Pelton and by Polars beside each other.

Usage: scripts/files_beside_polars.py [--scale N] [--runs N] [--data FOLDER] [--pelton PROGRAM] [--json FILE] [CASE ...]
(--help tells all options)

A CASE is part of a case's name; without one, all run: advertising events (NDJSON, 40 files as a stream of 10 batches with a
checkpoint: filter, join, count per window), temperatures of stations (text), TPC-H 1 from text with `|`, and TPC-H 1 and 6 from
Parquet with three codecs. Files are made by `pelton generate` from a seed and kept in FOLDER. Both need pip install polars pyarrow numpy.

Pelton is a process of its own each time, timed from its start to its end. Polars is timed twice, without the time that Python takes to
start and to import it: `first` is the first query of a process, which is what a script that reads a file once waits for,
`warm` the later ones of a process that has read the same file before. Runs take turns. Answers are compared: keys and counts must be equal, floats
within 1e-9; a wrong one ends the script with exit code 4. Decimals are read as such by both; Polars rounds a product of decimals to the
scale of its left side, so where there is one, sums are compared within a millionth.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

CODECS = ["zstd", "snappy", "none"]
ADS = """
trigger = "available_now"
on_end = "flush"
checkpoint = "{work}/checkpoint"
[[source]]
name = "rows"
type = "files"
path = "{data}/ads/*"
format = "ndjson"
schema = {{ ad_id = "text", event_type = "text", event_time = "bigint" }}
limits = {{ files = 4 }}
[[table]]
name = "campaigns"
path = "{data}/campaigns.csv"
schema = {{ ad_id = "text", campaign_id = "text" }}
[[stream]]
name = "answer"
from = "rows"
steps = [
    {{ with_columns = "cast(event_time AS timestamp_ms) AS time" }},
    {{ watermark = "time", delay = "1s" }},
    {{ filter = "event_type = 'view'" }},
    {{ join = "campaigns", on = "ad_id" }},
    {{ key_by = ["campaign_id", "window(time, '10s')"], aggregate = "count(*) AS views" }},
    {{ select = ["campaign_id", "cast(window_start AS bigint) // 10000 AS bucket", "views"] }},
]
"""
ONE = """
trigger = "available_now"
[[source]]
name = "rows"
type = "files"
path = "{path}"
{format}
[[stream]]
name = "answer"
from = "rows"
steps = [{steps}]
"""
SINK = """
[[sink]]
type = "files"
from = "answer"
path = "{work}/answer"
format = "arrow"
"""
COLUMNS = ["l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_returnflag", "l_linestatus", "l_shipdate"]
Q1 = """{ filter = "l_shipdate <= date '1998-09-02'" }, { key_by = ["l_returnflag", "l_linestatus"], aggregate = [
    "sum(l_quantity) AS quantity", "sum(l_extendedprice) AS price", "sum(l_extendedprice * (1 - l_discount)) AS net",
    "sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS charge", "avg(l_quantity) AS mean_quantity",
    "avg(l_extendedprice) AS mean_price", "avg(l_discount) AS mean_discount", "count(*) AS orders"] }"""
Q6 = """{ filter = ["l_shipdate >= date '1994-01-01'", "l_shipdate < date '1995-01-01'", "l_discount between 0.05 and 0.07",
    "l_quantity < 24"] }, { aggregate = "sum(l_extendedprice * l_discount) AS revenue" }"""
STATIONS = """{ key_by = "station", aggregate = ["min(value) AS least", "avg(value) AS mean", "max(value) AS most"] }"""


def cases():
    """Name: (pipeline, how many times as fast as Polars it should be)."""
    table = '''format = "csv"\ndelimiter = "{}"\nheader = {}\nschema = {{{{ {} }}}}'''
    measurements = table.format(";", "false", 'station = "text", value = "double"')
    texts = {"l_returnflag", "l_linestatus"}
    decimal = {name: "text" if name in texts else "date" if name == "l_shipdate" else "decimal(15, 2)" for name in COLUMNS}
    lineitem = table.format("|", "true", ", ".join(f'{name} = "{kind}"' for name, kind in decimal.items()))
    parquet = 'format = "parquet"'
    one = ONE.replace("{steps}", "{{steps}}")

    def query(path, form, steps):
        return one.replace("{path}", path).replace("{format}", form).replace("{{steps}}", steps.replace("{", "{{").replace("}", "}}"))

    found = {"ads": (ADS, 3), "stations": (query("{data}/measurements.txt", measurements, STATIONS), 3),
             "q1/csv": (query("{data}/lineitem.csv", lineitem, Q1), 2)}
    for codec in CODECS:
        for name, steps in [("q1", Q1), ("q6", Q6)]:
            found[f"{name}/parquet/{codec}"] = (query("{data}/lineitem_" + codec + ".parquet", parquet, steps), 2)
    return found


def polars_query(case, data):
    """The same as a lazy query of Polars."""
    import datetime

    import polars as pl

    col = pl.col
    if case == "ads":
        text = ["user_id", "page_id", "ad_id", "ad_type", "event_type", "ip_address"]
        schema = {**{name: pl.String for name in text}, "event_time": pl.Int64}
        campaigns = pl.scan_csv(f"{data}/campaigns.csv")
        rows = pl.scan_ndjson(f"{data}/ads/*", schema=schema).filter(col.event_type == "view").join(campaigns, on="ad_id")
        return rows.group_by("campaign_id", (col.event_time // 10000).alias("bucket")).agg(pl.len().alias("views"))
    if case == "stations":
        rows = pl.scan_csv(f"{data}/measurements.txt", separator=";", has_header=False, new_columns=["station", "value"],
                           schema_overrides={"station": pl.String, "value": pl.Float64})
        value = col.value
        return rows.group_by("station").agg(value.min().alias("least"), value.mean().alias("mean"), value.max().alias("most"))
    if case == "q1/csv":
        kinds = {name: pl.Decimal(15, 2) for name in COLUMNS[:4]}
        rows = pl.scan_csv(f"{data}/lineitem.csv", separator="|", schema_overrides={**kinds, "l_shipdate": pl.Date})
    else:
        rows = pl.scan_parquet(f"{data}/lineitem_{case.split('/')[2]}.parquet")
    if case.startswith("q6"):
        low, high = (pl.lit(text).cast(pl.Decimal(15, 2)) for text in ("0.05", "0.07"))
        kept = (col.l_shipdate >= datetime.date(1994, 1, 1)) & (col.l_shipdate < datetime.date(1995, 1, 1))
        kept &= col.l_discount.is_between(low, high) & (col.l_quantity < 24)
        return rows.filter(kept).select((col.l_extendedprice * col.l_discount).sum().alias("revenue"))
    net = col.l_extendedprice * (1 - col.l_discount)
    sums = [col.l_quantity.sum().alias("quantity"), col.l_extendedprice.sum().alias("price"), net.sum().alias("net"),
            (net * (1 + col.l_tax)).sum().alias("charge"), col.l_quantity.mean().alias("mean_quantity"),
            col.l_extendedprice.mean().alias("mean_price"), col.l_discount.mean().alias("mean_discount"), pl.len().alias("orders")]
    return rows.filter(col.l_shipdate <= datetime.date(1998, 9, 2)).group_by("l_returnflag", "l_linestatus").agg(sums)


def polars_runs(case, data, runs, out):
    """Run in a process of its own: prints the seconds of each run, and leaves the answer in `out`."""
    query, seconds = polars_query(case, data), []
    for _ in range(runs):
        start = time.perf_counter()
        answer = query.collect(engine="streaming" if case in ("ads", "stations") else "auto")
        seconds.append(time.perf_counter() - start)
    answer.write_ipc(out)
    print(json.dumps(seconds))


def make(options):
    """The files, if they are not there."""
    data = options.data
    data.mkdir(parents=True, exist_ok=True)

    def generate(out, kind, *more):
        target, half = data / out, data / f"{out}.half"
        if target.exists():
            return
        shutil.rmtree(half, ignore_errors=True)
        half.unlink(missing_ok=True)
        subprocess.run([options.pelton, "generate", kind, "--out", half, *more], check=True)
        half.rename(target)

    rows = lambda count: ["--rows", str(max(int(count * options.scale), 1000))]
    if "ads" in options.chosen:
        generate("ads", "ads", "--files", "40", *rows(4_000_000))
        generate("campaigns.csv", "campaigns")
    if "stations" in options.chosen:
        generate("measurements.txt", "measurements", *rows(50_000_000))
    scale = ["--scale", str(options.scale)]
    if "q1/csv" in options.chosen:
        generate("lineitem.tbl", "lineitem", "--format", "csv", *scale)
        if not (data / "lineitem.csv").exists():
            with open(data / "lineitem.tbl") as lines, open(data / "lineitem.csv.half", "w") as out:
                # Texts with commas are in quotes; none has a bar.
                import csv
                csv.writer(out, delimiter="|", lineterminator="\n").writerows(csv.reader(lines))
            (data / "lineitem.csv.half").rename(data / "lineitem.csv")
    if any("parquet" in case for case in options.chosen):
        generate("lineitem_zstd.parquet", "lineitem", "--format", "parquet", *scale)
        import pyarrow.parquet as parquet
        for codec in CODECS[1:]:
            target = data / f"lineitem_{codec}.parquet"
            if not target.exists():
                rows = parquet.read_table(data / "lineitem_zstd.parquet")
                half = target.with_suffix(".half")
                parquet.write_table(rows, half, compression=codec, row_group_size=1 << 20, store_decimal_as_integer=True)
                half.rename(target)


def pelton_run(options, pipeline):
    """Seconds of a whole process, and its answer."""
    import pyarrow
    import pyarrow.ipc

    work = options.data / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    file = work / "pipeline.toml"
    file.write_text('name = "case"\n' + (pipeline + SINK).format(data=options.data, work=work))
    start = time.perf_counter()
    done = subprocess.run([options.pelton, "run", file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"pelton ended with {done.returncode}: {done.stderr.strip()}")
    parts = [pyarrow.ipc.open_file(part).read_all() for part in sorted((work / "answer").rglob("*.arrow"))]
    return seconds, pyarrow.concat_tables(parts)


def compare(case, ours, theirs):
    """Ends the script if the answers differ."""
    import polars as pl

    ours, theirs = pl.from_arrow(ours), pl.read_ipc(theirs)
    keys = [name for name in ours.columns if name in ("campaign_id", "bucket", "station", "l_returnflag", "l_linestatus")]
    ours = ours.with_columns(pl.col(key).cast(theirs.schema[key]) for key in keys)
    ours, theirs = (frame.sort(keys) if keys else frame for frame in (ours, theirs.select(ours.columns)))
    is_right = ours.height == theirs.height and all(ours[key].equals(theirs[key]) for key in keys)
    for name in (name for name in ours.columns if is_right and name not in keys):
        a, b = ours[name].cast(pl.Float64), theirs[name].cast(pl.Float64)
        is_product = name in ("net", "charge", "revenue")
        # Means of decimals are decimals, of as many places as there is room for.
        near = 1e-6 if is_product or name.startswith("mean_") else 1e-9
        is_right = bool(((a - b).abs() <= near * b.abs() + 1e-12).all())
        if not is_right:
            print(f"{case}: column {name} differs: {a.to_list()[:4]} and {b.to_list()[:4]}", file=sys.stderr)
    if not is_right:
        print(f"{case}: the answers differ", file=sys.stderr)
        sys.exit(4)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1, help="1 (the default) is 4 million events, 50 million stations, 6 million items")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--data", type=Path, default=Path("target/beside_polars"))
    parser.add_argument("--pelton", type=Path, default=Path("target/release/pelton"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--polars", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("case", nargs="*")
    options = parser.parse_args()
    if options.polars:
        case, runs, out = options.polars
        return polars_runs(case, options.data, int(runs), out)
    known = cases()
    options.chosen = [name for name in known if not options.case or any(part in name for part in options.case)]
    options.data = options.data.absolute()
    make(options)
    print(f"milliseconds, best / median of {options.runs}\n")
    print("| case | Pelton, whole process | Polars, first | × | Polars, warm | × | wanted |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    report = {}
    for case in options.chosen:
        pipeline, wanted = known[case]
        ours, first, warm = [], [], []
        for turn in range(options.runs):
            seconds, answer = pelton_run(options, pipeline)
            ours.append(seconds)
            theirs = options.data / "theirs.arrow"
            command = [sys.executable, __file__, "--data", options.data, "--polars", case, "3", theirs]
            seconds = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            first.append(seconds[0])
            warm.extend(seconds[1:])
            if turn == 0:
                compare(case, answer, theirs)
        times = {"pelton": ours, "polars_first": first, "polars_warm": warm}
        report[case] = {name: [round(1000 * one, 2) for one in all] for name, all in times.items()}
        shown = {name: f"{1000 * min(all):.0f} / {1000 * statistics.median(all):.0f}" for name, all in times.items()}
        ratio = {name: statistics.median(all) / statistics.median(ours) for name, all in times.items()}
        print(f"| {case} | {shown['pelton']} | {shown['polars_first']} | {ratio['polars_first']:.1f} | {shown['polars_warm']} | "
              f"{ratio['polars_warm']:.1f} | {wanted} |", flush=True)
    shutil.rmtree(options.data / "work", ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
