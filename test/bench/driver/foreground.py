"""What the foreground loses: pgbench at 70 % of its maximum, without an archive and with each tool archiving."""
import os
import re
import shutil

from cases import Table, times
from competitors import PgBackRest

SHARE = 0.7


def rate_and_latency(cluster, seconds, rate=None):
    """Transactions per second and the 99th percentile of the latency in milliseconds."""
    prefix = os.path.join(cluster.socket_directory, "transactions")
    arguments = ["-n", "-c", "4", "-j", "1", "-T", str(seconds), "-l", f"--log-prefix={prefix}"]
    out = cluster.pgbench(*arguments, *(["-R", str(rate)] if rate else []))
    tps = float(re.search(r"tps = ([0-9.]+) \(without", out).group(1))
    latencies = []
    for name in os.listdir(cluster.socket_directory):
        if name.startswith("transactions."):
            path = os.path.join(cluster.socket_directory, name)
            with open(path, encoding="utf-8") as file:
                latencies += [int(line.split()[2]) for line in file]
            os.unlink(path)
    latencies.sort()
    return tps, latencies[int(len(latencies) * 0.99)] / 1000


def foreground(bench):
    seconds = 5 if bench.options.quick else 60
    table = Table("foreground", f"pgbench at {SHARE:.0%} of its maximum, {seconds} s each",
                  ["transactions/s", "lost", "p99 latency, ms", "of the p99 without"])
    source = bench.cluster("foreground", pgvigil=False)
    source.configure("synchronous_commit = on\nwal_compression = off\ncheckpoint_timeout = 5min\nmax_wal_size = 1GB")
    source.start()
    source.pgbench("-q", "-i", "-s", "2" if bench.options.quick else "30")
    source.configure("archive_command = 'true'")
    source.reload()
    rate = int(rate_and_latency(source, seconds)[0] * SHARE)
    source.stop()
    base = None
    for name, title in (("none", "without an archive"), ("pgvigil", "pgvigil, archiving"), ("pgbackrest", "pgBackRest, asynchronous"),
                        ("none", "without an archive, again")):
        if name != "none" and not bench.wanted(name):
            continue
        cluster = source.clone(f"foreground_{name}")
        if name == "pgvigil":
            cluster.configure("archive_command = ''")
            bench.pgvigil.preload(cluster)
            cluster.configure(f"pgvigil.repository = '{bench.pgvigil.new_url()}'")
        if name == "pgbackrest":
            cluster.configure(PgBackRest.archive_settings(bench.pgbackrest.configure(cluster, asynchronous=True)))
        cluster.start()
        tps, p99 = rate_and_latency(cluster, seconds, rate)
        base = base or (tps, p99)
        table.add(title, tps, f"{100 * (1 - tps / base[0]):.1f} %", p99, times(p99 / base[1]))
        cluster.remove()
    shutil.rmtree(source.data, ignore_errors=True)
    table.note("Budget: at most 3 % lost, p99 at most 1.1 × of that without. Client, servers and store share the machine's cores.")
    return table
