"""Streaming: how long a commit takes until the store has it, what that costs, and what other ways cost.

The probe is a session of its own that commits a row, asks up to where WAL is flushed, and looks every so often (an interval's fiftieth,
at least a millisecond) whether the store has it. It asks the server, and the store's own counters say what was sent."""
import os
import re
import shutil
import subprocess
import threading
import time

from cluster import wait_until
from competitors import PgBackRest
from report import Table

INTERVALS = ("20ms", "100ms", "1s")
RATES = (100, 1000, None)
BUCKETS = (25, 50, 100, 200, 500, 1000, 2000)
PROBES = 2

PGVIGIL_HAS = "SELECT durable_lsn FROM pgv_status"
# A segment counts as archived by its name: all but the newest one.
ARCHIVER_HAS = ("SELECT CASE WHEN last_archived_wal ~ '^[0-9A-F]{24}$' THEN '0/0'::pg_lsn + (('x' || substr(last_archived_wal, 9, 8))::bit(32)::bigint"
                "::numeric * 4294967296 + (('x' || substr(last_archived_wal, 17, 8))::bit(32)::bigint + 1)::numeric * 16777216) END FROM pg_stat_archiver")


def milliseconds(text):
    return float(text[:-2]) if text.endswith("ms") else 1000 * float(text[:-1])


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None


def number(value, form="{:.0f}"):
    return "–" if value is None else form.format(value)


class Probe(threading.Thread):
    """Commits rows for so many seconds and notes how long each takes until it is durable, in milliseconds."""

    def __init__(self, cluster, seconds, pause_ms, query):
        super().__init__(daemon=True)
        self.cluster, self.values, self.error = cluster, [], None
        # The random pause keeps the commits from falling into step with the interval. The store is asked as a statement of
        # its own each time: no snapshot is held while the probe waits.
        self.sql = f"""DO $$
DECLARE taken float8[] := '{{}}'; target pg_lsn; begun timestamptz; ends timestamptz := clock_timestamp() + interval '{seconds} s'; has pg_lsn;
BEGIN
    WHILE clock_timestamp() < ends LOOP
        INSERT INTO probe VALUES (1);
        COMMIT;
        begun := clock_timestamp();
        target := pg_current_wal_flush_lsn();
        LOOP
            has := ({query});
            EXIT WHEN has >= target;
            IF clock_timestamp() > begun + interval '60 s' THEN RAISE EXCEPTION 'not durable after a minute'; END IF;
            PERFORM pg_stat_clear_snapshot();
            PERFORM pg_sleep({max(1.0, pause_ms / 50) / 1000});
        END LOOP;
        taken := taken || extract(epoch FROM clock_timestamp() - begun)::float8 * 1000;
        PERFORM pg_sleep(random() * {min(pause_ms, 500) / 1000});
    END LOOP;
    RAISE NOTICE 'taken: %', array_to_string(taken, ' ');
END $$"""
        self.start()

    def run(self):
        done = subprocess.run([self.cluster.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.cluster.socket_directory,
                               "-p", str(self.cluster.port), "-U", "postgres", "-d", "postgres", "-c", self.sql],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        found = re.search(r"taken: (.*)", done.stderr)
        if done.returncode != 0 or not found:
            self.error = done.stderr
        else:
            self.values = [float(value) for value in found.group(1).split()]


def pgbench(cluster, seconds, rate=None):
    """Transactions per second and the 99th percentile of their latency in milliseconds; at a rate, from when they were due."""
    prefix = os.path.join(cluster.socket_directory, "transactions")
    out = cluster.pgbench("-n", "-c", "8", "-j", "1", "-M", "prepared", "-T", str(seconds), "-l", f"--log-prefix={prefix}",
                          *(["-R", str(rate)] if rate else []))
    latencies = []
    for name in os.listdir(cluster.socket_directory):
        if name.startswith("transactions."):
            path = os.path.join(cluster.socket_directory, name)
            with open(path, encoding="utf-8") as file:
                latencies += [int(line.split()[2]) / 1000 for line in file]
            os.unlink(path)
    return float(re.search(r"tps = ([0-9.]+) \(without", out).group(1)), percentile(latencies, 0.99)


def measure(bench, cluster, seconds, rate, pause_ms=None, query=None):
    """One load, with probes beside it when there is something to ask."""
    before = bench.gateway.counters()
    begin = time.monotonic()
    probes = [Probe(cluster, seconds, pause_ms, query) for _ in range(PROBES)] if query else []
    tps, p99 = pgbench(cluster, seconds, rate)
    for probe in probes:
        probe.join()
        if probe.error:
            raise RuntimeError(f"the probe failed: {probe.error}")
    hours = (time.monotonic() - begin) / 3600
    after = bench.gateway.counters()
    return {"tps": tps, "p99": p99, "durable": [value for probe in probes for value in probe.values],
            "megabytes": (after["bytes"] - before["bytes"]) / 1e6 / hours, "requests": (after["requests"] - before["requests"]) / hours}


def source_of(bench):
    source = bench.cluster("stream_source", pgvigil=False)
    source.configure("synchronous_commit = on\nwal_compression = off\ncheckpoint_timeout = 5min\nmax_wal_size = 2GB\narchive_command = 'true'")
    source.start()
    source.pgbench("-q", "-i", "-s", "1" if bench.options.quick else "30")
    source.sql("CREATE TABLE probe (number int)")
    source.stop()
    return source


def with_pgvigil(bench, source, name, interval, synchronous=False):
    """A clone that streams (or, with interval 0, only archives) and has begun to."""
    cluster = source.clone(name)
    cluster.configure("archive_command = ''")
    bench.pgvigil.preload(cluster, stream_interval=interval)
    cluster.configure(f"pgvigil.repository = '{bench.pgvigil.new_url()}'")
    if synchronous:
        cluster.configure("pgvigil.synchronous = on\npgvigil.synchronous_user = postgres\nsynchronous_standby_names = 'pgvigil'")
    cluster.start()
    cluster.sql("CREATE EXTENSION pgvigil")
    if interval != "0":
        begins = cluster.sql("SELECT pg_current_wal_flush_lsn()")
        wait_until(lambda: cluster.sql(f"SELECT coalesce(durable_lsn >= '{begins}', false) FROM pgv_status") == "t", "streaming", 120)
    return cluster


def histogram(bench, source):
    quick = bench.options.quick
    seconds = 1 if quick else 20
    table = Table("latency", f"From commit to durable in the store, {seconds} s each",
                  ["transactions/s", "probes", "p50, ms", "p99, ms", "worst, ms", *[f"≤ {limit} ms" for limit in BUCKETS],
                   "objects and other requests/h", "MB/h"])
    for interval in ("20ms", "1s") if quick else INTERVALS:
        cluster = with_pgvigil(bench, source, "latency", interval)
        for rate in (100,) if quick else RATES:
            result = measure(bench, cluster, seconds, rate, milliseconds(interval), PGVIGIL_HAS)
            taken = result["durable"]
            shares = [f"{100 * sum(value <= limit for value in taken) / max(1, len(taken)):.0f} %" for limit in BUCKETS]
            table.add(f"{interval}, {f'{rate:,}' if rate else 'maximal'} transactions/s", number(result["tps"]), str(len(taken)),
                      number(percentile(taken, 0.5), "{:.1f}"), number(percentile(taken, 0.99), "{:.1f}"), number(max(taken, default=None), "{:.1f}"),
                      *shares, number(result["requests"]), number(result["megabytes"]))
        cluster.remove()
    table.note("Budget at 100 ms: p50 at most 150 ms, p99 at most 500 ms. Client, server and store share the machine's cores.")
    return table


class ReceiveWal:
    """pg_receivewal --synchronous into a local directory, as a synchronous standby."""

    def __init__(self, cluster):
        self.directory = cluster.data + ".received"
        os.makedirs(self.directory)
        cluster.configure("archive_command = 'true'\nsynchronous_standby_names = 'receive'")
        cluster.start()
        self.process = subprocess.Popen(
            [cluster.program("pg_receivewal"), "--synchronous", "--no-loop", "-D", self.directory, "-d",
             f"host={cluster.socket_directory} port={cluster.port} user=postgres application_name=receive"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: cluster.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1", "pg_receivewal", 60)

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def contenders(bench, source):
    """(title, how to start it, what to ask for durability, where a probe's pause comes from)."""
    def backrest():
        cluster = source.clone("stream_pgbackrest")
        cluster.configure("archive_timeout = 1s\n" + PgBackRest.archive_settings(bench.pgbackrest.configure(cluster, asynchronous=False)))
        cluster.start()
        # A checkpointer that has slept since before the end of the start looks at archive_timeout only after it was woken.
        cluster.sql("CHECKPOINT")
        return cluster, None

    def receive():
        cluster = source.clone("stream_receivewal")
        return cluster, ReceiveWal(cluster)

    def pgvigil(interval, synchronous=False):
        return lambda: (with_pgvigil(bench, source, "stream_pgvigil", interval, synchronous), None)

    if bench.wanted("pgvigil"):
        yield "pgvigil, stream_interval = 0", pgvigil("0"), None, 0
        yield "pgvigil, 1 s", pgvigil("1s"), PGVIGIL_HAS, 1000
        yield "pgvigil, 100 ms", pgvigil("100ms"), PGVIGIL_HAS, 100
        yield "pgvigil, synchronous", pgvigil("1s", True), PGVIGIL_HAS, 20
    if bench.wanted("postgresql"):
        yield "pg_receivewal --synchronous, local directory", receive, None, 0
    if bench.wanted("pgbackrest"):
        yield "pgBackRest, archive_timeout = 1s", backrest, ARCHIVER_HAS, 1000


def streaming(bench, source):
    quick = bench.options.quick
    seconds = 1 if quick else 20
    table = Table("streaming", f"pgbench with and without streaming, {seconds} s each",
                  ["transactions/s, maximal", "of stream_interval = 0", "p99 latency, ms", "requests/h", "MB/h", "at 100/s: p99 latency, ms",
                   "durable p50, ms", "durable p99, ms", "requests/h", "MB/h"])
    base = None
    for title, start, query, pause in contenders(bench, source):
        cluster, other = start()
        try:
            most = measure(bench, cluster, seconds, None)
            calm = measure(bench, cluster, seconds, 100, pause, query)
            base = base or most["tps"]
            table.add(title, number(most["tps"]), f"{100 * most['tps'] / base:.0f} %", number(most["p99"], "{:.1f}"), number(most["requests"]),
                      number(most["megabytes"]), number(calm["p99"], "{:.1f}"), number(percentile(calm["durable"], 0.5)),
                      number(percentile(calm["durable"], 0.99)), number(calm["requests"]), number(calm["megabytes"]))
        finally:
            if other:
                # Nobody confirms commits any more: the server is not to wait for one.
                other.stop()
            cluster.remove()
    table.note("Requests and bytes are what the S3 server counted, archived segments included. \"Durable\" is the time from a commit's answer until "
               "the store has it; synchronous commits have it when they return, so their price is in the latency.")
    return table


def latency(bench):
    source = source_of(bench)
    if bench.wanted("pgvigil"):
        yield histogram(bench, source)
    yield streaming(bench, source)
    shutil.rmtree(source.data, ignore_errors=True)
