#!/usr/bin/env python3
"""Runs the measurements; test/bench/run prepares everything and calls it."""
import argparse
import atexit
import os
import signal
import sys
import types

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "..", "..", "fault")]
os.environ.pop("PGOPTIONS", None)

import cases  # noqa: E402
import foreground  # noqa: E402
import incremental  # noqa: E402
import latency  # noqa: E402
from cluster import Cluster  # noqa: E402
from competitors import PgBackRest, PgVigil  # noqa: E402
from gateway import Gateway  # noqa: E402
from report import header  # noqa: E402
from s3client import S3Client  # noqa: E402

ALL = ["archive", "single", "backup", "restore", "replay", "incremental", "foreground", "latency"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bindir", required=True)
    parser.add_argument("--pgbackrest", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--result", required=True)
    parser.add_argument("--gateway", required=True)
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scale", type=int)
    parser.add_argument("--segments", type=int)
    parser.add_argument("--only", action="append")
    parser.add_argument("cases", nargs="*", default=[])
    options = parser.parse_args()
    options.scale = options.scale or (5 if options.quick else 100)
    options.segments = options.segments or (8 if options.quick else 96)
    wanted = ALL if not options.cases or "all" in options.cases else options.cases

    environment = {name[16:].lower(): value for name, value in os.environ.items() if name.startswith("PGVIGIL_TEST_S3_")}
    store = types.SimpleNamespace(endpoint=environment["endpoint"], bucket=environment["bucket"],
                                  region=environment.get("region", "us-east-1"), access_key=environment["access_key"],
                                  secret_key=environment["secret_key"], ca_file=environment.get("ca_file"))
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = store.access_key, store.secret_key
    S3Client(store.endpoint, store.bucket, store.access_key, store.secret_key, store.region).make_bucket()

    load = os.getloadavg()[0]
    pgbackrest = PgBackRest(options.pgbackrest, options.directory, store)
    bench = cases.Bench(options, store, pgbackrest, PgVigil(options.bindir, store))
    bench.gateway = Gateway(options.gateway)
    version = Cluster(options.bindir, options.directory, "version").version
    versions = [("pgvigil commit", options.commit), ("PostgreSQL", version)]
    if bench.wanted("pgbackrest"):
        versions.append(("pgBackRest", pgbackrest.version))

    def show(table):
        print("\n" + table.plain(), flush=True)
        # At once: what was measured is kept when a later case fails.
        with open(options.result, "a", encoding="utf-8") as file:
            file.write(f"<!-- begin {table.case} -->\n{table.markdown()}\n{header(versions, load)}<!-- end {table.case} -->\n")

    if "archive" in wanted:
        show(cases.archive(bench))
    if "single" in wanted:
        show(cases.single(bench))
    if {"backup", "restore"} & set(wanted):
        for table in cases.backup_and_restore(bench, wanted):
            show(table)
    if "replay" in wanted:
        show(cases.replay(bench))
    if "incremental" in wanted and bench.wanted("pgvigil"):
        for table in incremental.incremental(bench):
            show(table)
    if "foreground" in wanted:
        show(foreground.foreground(bench))
    if "latency" in wanted:
        for table in latency.latency(bench):
            show(table)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(Cluster.stop_all)
    main()
