"""The measurements. Each prepares data once and lets every competitor do the same job on it."""
import os
import re
import shutil
import statistics
import time

import limit
from cluster import Cluster, run, wait_until
from competitors import PgBackRest
from report import Table

SEGMENT = 16 << 20


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{min(values):.2f}–{max(values):.2f}" if len(values) > 1 else "–"


def times(value):
    return f"{value:.2f} ×"


class Bench:
    """What the cases share."""

    def __init__(self, options, store, pgbackrest, pgvigil):
        self.options, self.store, self.pgbackrest, self.pgvigil = options, store, pgbackrest, pgvigil
        self.work = options.directory
        self.rounds = 1 if options.quick else 3

    def wanted(self, name):
        return not self.options.only or name in self.options.only

    def cluster(self, name, pgvigil=True):
        cluster = Cluster(self.options.bindir, self.work, name)
        cluster.initialise()
        if pgvigil and self.wanted("pgvigil"):
            self.pgvigil.preload(cluster)
        return cluster

    def write_wal(self, cluster, segments):
        """Bulk updates and transactions after checkpoints (full-page images) until so many complete segments wait."""
        cluster.pgbench("-q", "-i", "-s", "1" if self.options.quick else "5")
        while len(cluster.ready_files()) < segments:
            cluster.sql("UPDATE pgbench_accounts SET abalance = abalance + 1")
            cluster.sql("CHECKPOINT")
            cluster.pgbench("-n", "-c", "2", "-t", "500" if self.options.quick else "4000")
            cluster.sql("VACUUM pgbench_accounts")
        return cluster.ready_files()[:segments]


def seconds_until_archived(cluster, names, begin_ns):
    """.ready is renamed to .done: the change time of a .done file is the moment of the acknowledgement."""
    directory = os.path.join(cluster.data, "pg_wal", "archive_status")
    last = os.path.join(directory, names[-1])
    wait_until(lambda: os.path.exists(last + ".done"), f"{names[-1]} to be archived", pause=0.02)
    wait_until(lambda: not set(names) & set(cluster.ready_files()), "the backlog to be archived", pause=0.02)
    ends = [os.stat(os.path.join(directory, name + ".done")).st_ctime_ns for name in names]
    return (max(ends) - begin_ns) / 1e9


def archive(bench):
    """A backlog that built up while archiving was off."""
    count = bench.options.segments
    source = bench.cluster("backlog", pgvigil=False)
    source.start()
    names = bench.write_wal(source, count)
    source.stop()
    paths = [os.path.join(source.data, "pg_wal", name) for name in names]
    table = Table("archive", f"Archiving a backlog of {count} segments of 16 MB", ["segments/s", "best–worst", "of the limit"])
    results = {"pgvigil": [], "pgbackrest": [], "limit": []}
    for number in range(bench.rounds):
        if bench.wanted("limit"):
            results["limit"].append(count / limit.upload(bench.store, f"limit-archive{number}", paths, SEGMENT)[0])
        if bench.wanted("pgbackrest"):
            clone = source.clone(f"backlog_pgbackrest{number}")
            command = bench.pgbackrest.configure(clone, asynchronous=True)
            clone.start()
            clone.configure(PgBackRest.archive_settings(command))
            begin = time.time_ns()
            clone.reload()
            results["pgbackrest"].append(count / seconds_until_archived(clone, names, begin))
            clone.remove()
        if bench.wanted("pgvigil"):
            clone = source.clone(f"backlog_pgvigil{number}")
            bench.pgvigil.preload(clone)
            clone.start()
            clone.configure(f"pgvigil.repository = '{bench.pgvigil.new_url()}'")
            begin = time.time_ns()
            clone.reload()
            results["pgvigil"].append(count / seconds_until_archived(clone, names, begin))
            clone.remove()
    source.remove()
    add_rates(table, results, {"pgvigil": "pgvigil", "pgbackrest": "pgBackRest, asynchronous", "limit": "limit"})
    verdict(table, results, 3, "pgBackRest's asynchronous push", "pgbackrest")
    return table


def add_rates(table, results, titles):
    for name, title in titles.items():
        if results.get(name):
            rate = median(results[name])
            of_limit = f"{100 * rate / median(results['limit']):.0f} %" if results.get("limit") else "–"
            table.add(title, rate, spread(results[name]), of_limit)


def verdict(table, results, factor, what, peer):
    """The budget, in rates: a multiple of the peer, or 0.8 of the limit where that is lower."""
    if not results.get("pgvigil") or not results.get(peer):
        return
    ours, theirs = median(results["pgvigil"]), median(results[peer])
    goal, why = factor * theirs, f"{factor} × {what}"
    if results.get("limit") and 0.8 * median(results["limit"]) < goal:
        goal, why = 0.8 * median(results["limit"]), f"0.8 of the limit, which is less than {factor} × {what}"
    table.note(f"Budget: {why}. pgvigil reaches {ours / theirs:.2f} × the peer and {ours / goal:.2f} of the budget.")


def single(bench):
    """One segment at a time on an idle server: from .ready to the acknowledgement."""
    table = Table("single", "One segment of 16 MB, idle server", ["ms", "best–worst", "of compress + PUT"])
    count = 3 if bench.options.quick else 15
    results = {"pgvigil": [], "pgbackrest": [], "limit": []}
    for name in ("pgbackrest", "pgvigil"):
        if not bench.wanted(name):
            continue
        cluster = bench.cluster(f"single_{name}", pgvigil=name == "pgvigil")
        cluster.start()
        if name == "pgvigil":
            cluster.configure(f"pgvigil.repository = '{bench.pgvigil.new_url()}'")
        else:
            cluster.configure(PgBackRest.archive_settings(bench.pgbackrest.configure(cluster, asynchronous=False)))
        cluster.reload()
        cluster.pgbench("-q", "-i", "-s", "1")
        cluster.sql("CREATE TABLE filler (t text)")
        for number in range(count):
            # About 15 MB of WAL that compresses as rows do.
            cluster.sql("SELECT pg_switch_wal()")
            wait_until(lambda: not cluster.ready_files(), "an empty queue", pause=0.01)
            cluster.sql("INSERT INTO filler SELECT md5(random()::text) || md5(g::text) FROM generate_series(1, 130000) g")
            segment = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
            path = os.path.join(cluster.data, "pg_wal", "archive_status", segment + ".done")
            wait_until(lambda: os.path.exists(path), segment, pause=0.01)
            info = os.stat(path)
            results[name].append((info.st_ctime_ns - info.st_mtime_ns) / 1e6)
            if bench.wanted("limit"):
                seconds = limit.upload_one(bench.store, f"limit-single-{name}{number}",
                                           os.path.join(cluster.data, "pg_wal", segment))
                results["limit"].append(1000 * seconds)
        cluster.remove()
    for name, title in (("pgvigil", "pgvigil"), ("pgbackrest", "pgBackRest, synchronous"), ("limit", "compress + PUT alone")):
        if results[name]:
            of_limit = times(median(results[name]) / median(results["limit"])) if results["limit"] else "–"
            table.add(title, median(results[name]), spread(results[name]), of_limit)
    if results["pgvigil"] and results["limit"]:
        table.note("Budget: under 1.3 × the time of compress + PUT.")
    return table


def add_seconds(table, results, titles, size):
    for name, title in titles.items():
        if results.get(name):
            seconds = median(results[name])
            table.add(title, seconds, spread(results[name]), f"{size / seconds / 1e6:.0f}")


def database(bench, *initialisation):
    """A pgbench database that archives with pgvigil when that takes part."""
    cluster = bench.cluster("database")
    if not bench.wanted("pgvigil"):
        cluster.configure("archive_command = 'true'")
    cluster.start()
    url = ""
    if bench.wanted("pgvigil"):
        url = bench.pgvigil.new_url()
        cluster.configure(f"pgvigil.repository = '{url}'")
        cluster.reload()
        cluster.sql("CREATE EXTENSION pgvigil")
    cluster.pgbench("-q", "-i", "-s", str(bench.options.scale), *initialisation)
    cluster.sql("CHECKPOINT")
    wait_until(lambda: not cluster.ready_files(), "the archive", pause=0.1)
    return cluster, url


def backup_and_restore(bench, cases):
    """Full backups of one database, and restores of them."""
    cluster, url = database(bench)
    size = sum(os.path.getsize(path) for path in cluster.data_files())
    backups = {name: [] for name in ("pgvigil", "pgbackrest", "postgresql", "limit")}
    restores = {name: [] for name in ("pgvigil", "pgbackrest", "postgresql", "limit")}
    command = bench.pgbackrest.configure(cluster, asynchronous=True) if bench.wanted("pgbackrest") else None
    stored = None
    for number in range(bench.rounds if "backup" in cases else 1):
        if bench.wanted("pgvigil"):
            backups["pgvigil"].append(bench.pgvigil.backup(cluster))
        if command:
            backups["pgbackrest"].append(PgBackRest.backup(command))
        if bench.wanted("postgresql"):
            target = os.path.join(bench.work, "basebackup")
            begin = time.monotonic()
            run([cluster.program("pg_basebackup"), "-h", cluster.socket_directory, "-p", str(cluster.port), "-U", "postgres", "-Ft",
                 "-X", "none", "-c", "fast", "--compress=server-zstd:1", "-D", target])
            backups["postgresql"].append(time.monotonic() - begin)
            shutil.rmtree(target)
        if bench.wanted("limit"):
            seconds, stored = limit.upload(bench.store, f"limit-backup{number}", list(cluster.data_files()))
            backups["limit"].append(seconds)
    combine_source = None
    if "restore" in cases and bench.wanted("postgresql") and cluster.major >= 17:
        combine_source = os.path.join(bench.work, "plain")
        run([cluster.program("pg_basebackup"), "-h", cluster.socket_directory, "-p", str(cluster.port), "-U", "postgres",
             "-X", "none", "-c", "fast", "-D", combine_source])
    cluster.stop()
    for _ in range(bench.rounds if "restore" in cases else 0):
        restore_round(bench, restores, cluster, url, command, combine_source, stored)
    cluster.remove()
    return [table for table in (backup_table(bench, backups, size) if "backup" in cases else None,
                                restore_table(bench, restores, size) if "restore" in cases else None) if table]


def restore_round(bench, results, cluster, url, command, combine_source, stored):
    target = os.path.join(bench.work, "restored")

    def done(name, seconds):
        results[name].append(seconds)
        shutil.rmtree(target)

    if bench.wanted("pgvigil"):
        done("pgvigil", bench.pgvigil.restore(url, target))
    if command:
        os.makedirs(target, mode=0o700)
        done("pgbackrest", PgBackRest.restore(command, target))
    if combine_source:
        begin = time.monotonic()
        run([cluster.program("pg_combinebackup"), "-o", target, combine_source])
        done("postgresql", time.monotonic() - begin)
    if stored:
        done("limit", limit.download(bench.store, stored, target))


def backup_table(bench, results, size):
    table = Table("backup", f"Full backup of a pgbench database of {size / 1e9:.2f} GB (scale {bench.options.scale})",
                  ["seconds", "best–worst", "MB/s"])
    add_seconds(table, results, {"pgvigil": "pgvigil", "pgbackrest": "pgBackRest", "postgresql":
                                 "pg_basebackup, server-side zstd, to a local file", "limit": "limit"}, size)
    verdict(table, {name: [1 / value for value in values] for name, values in results.items()}, 2, "pgBackRest", "pgbackrest")
    if results["pgvigil"] and results["postgresql"]:
        table.note(f"pg_basebackup to a local file takes {median(results['postgresql']) / median(results['pgvigil']):.2f} × pgvigil's time.")
    return table


def restore_table(bench, results, size):
    table = Table("restore", f"Restore of that database ({size / 1e9:.2f} GB)", ["seconds", "best–worst", "MB/s"])
    add_seconds(table, results, {"pgvigil": "pgvigil", "pgbackrest": "pgBackRest",
                                 "postgresql": "pg_combinebackup of a local full backup", "limit": "limit"}, size)
    verdict(table, {name: [1 / value for value in values] for name, values in results.items()}, 5, "pgBackRest", "pgbackrest")
    return table


def redo_seconds(cluster):
    with open(cluster.log, encoding="utf-8") as file:
        found = re.findall(r"redo done at .*elapsed: ([0-9.]+) s", file.read())
    return float(found[-1])


def setting(directory, name):
    with open(os.path.join(directory, "postgresql.auto.conf"), encoding="utf-8") as file:
        value = re.findall(rf"^{name} = '(.*)'$", file.read(), re.MULTILINE)[-1]
    return value.replace("''", "'")


def fetch_rate(directory, names):
    """MB/s of running restore_command for one segment after the other, as recovery does when replay costs nothing."""
    command = setting(directory, "restore_command")
    target = os.path.join(directory, "pg_wal", "RECOVERYXLOG")
    begin = time.monotonic()
    for name in names:
        run(["sh", "-c", command.replace("%f", name).replace("%p", "pg_wal/RECOVERYXLOG").replace("%%", "%")], cwd=directory)
        os.unlink(target)
    return len(names) * SEGMENT / (time.monotonic() - begin) / 1e6


def replay(bench):
    """Recovery from a backup through many segments: the fetching alone, and with the replay."""
    count = bench.options.segments
    cluster = bench.cluster("replay")
    cluster.start()
    url = bench.pgvigil.new_url()
    if bench.wanted("pgvigil"):
        cluster.configure(f"pgvigil.repository = '{url}'")
        cluster.reload()
        cluster.sql("CREATE EXTENSION pgvigil")
        bench.pgvigil.backup(cluster)
    # From here on WAL waits: a clone without pgvigil gives it to pgBackRest, whose backup needs the first of it.
    cluster.configure("pgvigil.repository = ''" if bench.wanted("pgvigil") else "")
    cluster.reload()
    command = bench.pgbackrest.configure(cluster, asynchronous=True) if bench.wanted("pgbackrest") else None
    if command:
        PgBackRest.backup(command)
    names = bench.write_wal(cluster, count)
    cluster.stop()
    local = os.path.join(bench.work, "local_wal")
    os.makedirs(local)
    for name in cluster.ready_files():
        shutil.copy(os.path.join(cluster.data, "pg_wal", name), local)
    every = sorted(os.listdir(local))
    if command:
        clone = cluster.clone("replay_clone")
        clone.configure("shared_preload_libraries = ''\narchive_library = ''\n" + PgBackRest.archive_settings(command))
        configure_clone(command, clone)
        clone.start()
        seconds_until_archived(clone, every, time.time_ns())
        clone.remove()
    if bench.wanted("pgvigil"):
        cluster.start()
        cluster.configure(f"pgvigil.repository = '{url}'")
        begin = time.time_ns()
        cluster.reload()
        seconds_until_archived(cluster, every, begin)
        cluster.stop()
    table = Table("replay", f"Recovery through {count} segments of 16 MB", ["fetch alone, MB/s", "recovery, s", "MB/s of WAL"])
    for name, title in (("pgvigil", "pgvigil"), ("pgbackrest", "pgBackRest, asynchronous"), ("limit", "local cp (no network)")):
        if bench.wanted(name) and (name != "limit" or bench.wanted("pgvigil")):
            recover(bench, cluster, table, name, title, url, command, names, local)
    table.note("Budget: replay is never the bottleneck: at least 300 MB/s of WAL fetched.")
    cluster.remove()
    return table


def configure_clone(command, clone):
    """The stanza of the original, told where the clone is."""
    path = command[1].split("=", 1)[1]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"(?m)^pg1-path=.*$", f"pg1-path={clone.data}", text)
    text = re.sub(r"(?m)^pg1-port=.*$", f"pg1-port={clone.port}", text)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def recover(bench, cluster, table, name, title, url, command, names, local):
    target = Cluster(bench.options.bindir, bench.work, f"recovered_{name}")
    if name == "pgbackrest":
        os.makedirs(target.data, mode=0o700)
        PgBackRest.restore(command, target.data)
    else:
        bench.pgvigil.restore(url, target.data)
    if name == "limit":
        target.configure("")
        with open(os.path.join(target.data, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
            file.write(f"\nrestore_command = 'cp {local}/%f %p 2>/dev/null'\n")
    rate = fetch_rate(target.data, names)
    target.configure(f"unix_socket_directories = '{bench.work}'\nlisten_addresses = ''\narchive_mode = off\nlog_min_messages = info\n"
                     "shared_preload_libraries = ''\narchive_library = ''\n")
    target.start()
    wait_until(lambda: target.sql("SELECT pg_is_in_recovery()") == "f", "the end of recovery", pause=0.1)
    seconds = redo_seconds(target)
    table.add(title, f"{rate:.0f}", seconds, f"{len(names) * SEGMENT / seconds / 1e6:.0f}")
    target.remove()
