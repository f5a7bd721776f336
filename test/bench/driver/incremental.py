"""Incremental backups of a large database with 0 %, 1 % and 20 % of its blocks changed, and the restore of a chain."""
import os
import shutil
import time

import zstd
from cases import Table, database, median, times, wait_until
from cluster import run
from competitors import PgBackRest

SHARES = (0, 1, 20)
CHAIN = 25
CHURN = 10
BLOCK = 8192
BUNDLE = 16


def change_blocks(cluster, percent):
    """Updates one row in so many of the table's blocks, each in its place: the fill factor leaves room. Returns how many."""
    blocks = int(cluster.sql("SELECT pg_relation_size('pgbench_accounts') / 8192"))
    if percent:
        cluster.sql(f"""SET synchronize_seqscans = off;
            UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE ctid = ANY (ARRAY(
                SELECT (SELECT min(ctid) FROM pgbench_accounts
                        WHERE ctid >= format('(%s,0)', b)::tid AND ctid < format('(%s,0)', b + 1)::tid)
                FROM generate_series(0, {blocks} - 1) b WHERE random() < {percent / 100}))""")
        cluster.sql("CHECKPOINT")
    wait_until(lambda: not cluster.ready_files(), "the archive", pause=0.1)
    return blocks


def compressed_share(cluster, percent):
    """Bytes of so many of the table's blocks, compressed 16 at a time."""
    base = os.path.join(cluster.data, cluster.sql("SELECT pg_relation_filepath('pgbench_accounts')"))
    step = max(1, round(100 / percent))
    total, batch, number = 0, [], 0
    while os.path.exists(path := base if number == 0 else f"{base}.{number}"):
        with open(path, "rb", buffering=0) as file:
            for offset in range(0, os.path.getsize(path), step * BLOCK):
                batch.append(os.pread(file.fileno(), BLOCK, offset))
                if len(batch) == BUNDLE:
                    total += len(zstd.compress(b"".join(batch), 1))
                    batch = []
        number += 1
    return total + (len(zstd.compress(b"".join(batch), 1)) if batch else 0)


class Native:
    """pg_basebackup --incremental into local directories."""

    def __init__(self, bench, cluster):
        self.bench, self.cluster, self.directories = bench, cluster, []

    def backup(self):
        target = os.path.join(self.bench.work, f"native{len(self.directories)}")
        command = [self.cluster.program("pg_basebackup"), "-h", self.cluster.socket_directory, "-p", str(self.cluster.port),
                   "-U", "postgres", "-X", "none", "-c", "fast", "-D", target]
        if self.directories:
            command.append(f"--incremental={self.directories[-1]}/backup_manifest")
        begin = time.monotonic()
        run(command)
        self.directories.append(target)
        return time.monotonic() - begin

    def size(self):
        return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(self.directories[-1]) for name in names)

    def combine(self, count, target):
        begin = time.monotonic()
        run([self.cluster.program("pg_combinebackup"), "-o", target, *self.directories[:count]])
        return time.monotonic() - begin


class Competition:
    """The three tools on one database."""

    def __init__(self, bench):
        self.bench = bench
        self.cluster, self.url = database(bench, "-F", "90")
        self.cluster.sql("CREATE EXTENSION IF NOT EXISTS pgvigil")
        self.pgbackrest = bench.pgbackrest.configure(self.cluster, asynchronous=True) if bench.wanted("pgbackrest") else None
        self.native = Native(bench, self.cluster) if bench.wanted("postgresql") and self.cluster.major >= 17 else None

    def pgvigil(self, kind):
        begin = time.monotonic()
        backup = self.cluster.sql(f"SELECT pgv_backup_now('{kind}')")
        seconds = time.monotonic() - begin
        stored = int(self.cluster.sql(f"SELECT stored_bytes FROM pgv_backups WHERE backup_id = '{backup}' LIMIT 1"))
        return backup, seconds, stored

    def backrest(self, kind):
        begin = time.monotonic()
        run(self.pgbackrest + ["--no-archive-check", f"--type={kind}", "backup"])
        return time.monotonic() - begin


def incremental(bench):
    """Two tables: the incrementals, and the restore of a chain."""
    race = Competition(bench)
    cluster = race.cluster
    size = sum(os.path.getsize(path) for path in cluster.data_files())
    fulls = {"pgvigil": race.pgvigil("full")}
    if race.pgbackrest:
        fulls["pgbackrest"] = race.backrest("full")
    if race.native:
        race.native.backup()
    table = Table("incremental", f"Incremental backups of {size / 1e9:.1f} GB (scale {bench.options.scale})",
                  ["pgvigil, s", "stored, MB", "of the blocks compressed", "pgBackRest, s", "pg_basebackup --incremental, s"])
    for share in SHARES:
        change_blocks(cluster, share)
        _, seconds, stored = race.pgvigil("incremental")
        limit = compressed_share(cluster, share) if share else 0
        peer = race.backrest("incr") if race.pgbackrest else None
        native = race.native.backup() if race.native else None
        table.add(f"{share} % changed", seconds, f"{stored / 1e6:.2f}", times(stored / limit) if limit else "–",
                  f"{peer:.2f} ({times(peer / seconds)})" if peer else "–", f"{native:.2f} ({times(native / seconds)})" if native else "–")
    table.note(f"The full backup took {fulls['pgvigil'][1]:.1f} s with pgvigil"
               + (f", {fulls['pgbackrest']:.1f} s with pgBackRest." if race.pgbackrest else "."))
    table.note("Budget at 1 %: 10 × faster than pgBackRest's block incremental, stored bytes within 1.1 × of the changed blocks "
               "compressed (here: 16 blocks at a time).")
    tables = [table, chain(bench, race, size)]
    cluster.remove()
    return tables


def chain(bench, race, size):
    cluster = race.cluster
    for directory in race.native.directories if race.native else []:
        shutil.rmtree(directory)
    if race.native:
        race.native.directories = []
        race.native.backup()
    if race.pgbackrest:
        race.backrest("full")
    first = race.pgvigil("full")[0]
    newest = first
    for _ in range(CHAIN - 1):
        change_blocks(cluster, CHURN / (CHAIN - 1))
        newest = race.pgvigil("incremental")[0]
        if race.pgbackrest:
            race.backrest("incr")
        if race.native:
            race.native.backup()
    cluster.stop()
    target = os.path.join(bench.work, "restored")
    seconds = {}

    def measure(name, body):
        seconds.setdefault(name, []).append(body())
        shutil.rmtree(target)

    def pgvigil(backup):
        begin = time.monotonic()
        run([bench.pgvigil.program, "restore", "--repository", race.url, "-D", target, "--backup", backup, "--target-immediate"])
        return time.monotonic() - begin

    for _ in range(bench.rounds):
        measure("pgvigil, full", lambda: pgvigil(first))
        measure(f"pgvigil, chain of {CHAIN}", lambda: pgvigil(newest))
    if race.pgbackrest:
        os.makedirs(target, mode=0o700)
        measure(f"pgBackRest, chain of {CHAIN}", lambda: PgBackRest.restore(race.pgbackrest, target))
    if race.native:
        measure("pg_combinebackup, full", lambda: race.native.combine(1, target))
        measure(f"pg_combinebackup, chain of {CHAIN}", lambda: race.native.combine(CHAIN, target))
    table = Table("chain", f"Restore of a chain of {CHAIN} backups with {CHURN} % of the blocks changed in all ({size / 1e9:.1f} GB)",
                  ["seconds", "MB/s"])
    for name, values in seconds.items():
        table.add(name, median(values), f"{size / median(values) / 1e6:.0f}")
    ratio = median(seconds[f"pgvigil, chain of {CHAIN}"]) / median(seconds["pgvigil, full"])
    table.note(f"Budget: within 1.15 × of the full. Measured: {times(ratio)}.")
    return table
