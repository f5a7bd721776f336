"""How each tool is told to do the same job: zstd level 1, two processes or threads, the same S3 server over TLS."""
import os
import time
import urllib.parse

from cluster import run

PROCESSES = 2


class PgBackRest:
    """pgBackRest with an S3 repository of its own."""

    name = "pgBackRest"

    def __init__(self, program, work, store):
        self.program, self.work, self.store = program, work, store
        self.number = 0

    @property
    def version(self):
        return run([self.program, "version"]).split()[1]

    def configure(self, cluster, asynchronous):
        """A fresh stanza for the cluster; returns the command's beginning."""
        self.number += 1
        base = os.path.join(self.work, f"pgbackrest{self.number}")
        os.makedirs(base)
        endpoint = urllib.parse.urlsplit(self.store.endpoint)
        path = os.path.join(base, "pgbackrest.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""[global]
repo1-type=s3
repo1-path=/pgbackrest{self.number}
repo1-s3-bucket={self.store.bucket}
repo1-s3-endpoint={endpoint.hostname}
repo1-storage-port={endpoint.port}
repo1-s3-region={self.store.region}
repo1-s3-key={self.store.access_key}
repo1-s3-key-secret={self.store.secret_key}
repo1-s3-uri-style=path
repo1-storage-verify-tls=n
repo1-bundle=y
repo1-block=y
log-path={base}
lock-path={base}/lock
spool-path={base}/spool
log-level-console=warn
log-level-file=off
compress-type=zst
compress-level=1
process-max={PROCESSES}
start-fast=y
archive-async={'y' if asynchronous else 'n'}
archive-push-queue-max=1TiB
archive-get-queue-max=256MiB

[main]
pg1-path={cluster.data}
pg1-port={cluster.port}
pg1-socket-path={cluster.socket_directory}
pg1-user=postgres
""")
        command = [self.program, f"--config={path}", "--stanza=main"]
        run(command + ["--no-online", "stanza-create"] if not os.path.exists(cluster.data + "/postmaster.pid")
            else command + ["stanza-create"])
        return command

    @staticmethod
    def archive_settings(command):
        return f"archive_command = '{' '.join(command)} archive-push %p'"

    @staticmethod
    def backup(command):
        begin = time.monotonic()
        run(command + ["--no-archive-check", "--type=full", "backup"])
        return time.monotonic() - begin

    @staticmethod
    def restore(command, directory):
        begin = time.monotonic()
        run(command + [f"--pg1-path={directory}", "restore"])
        return time.monotonic() - begin


class PgVigil:
    """pgvigil with a prefix of its own."""

    name = "pgvigil"

    def __init__(self, bindir, store):
        self.program = os.path.join(bindir, "pgvigil")
        self.store = store
        self.number = 0

    def new_url(self):
        self.number += 1
        url = f"s3://{self.store.bucket}/pgvigil{self.number}?endpoint={self.store.endpoint}&region={self.store.region}&path_style=on"
        return url + (f"&ca_file={self.store.ca_file}" if self.store.ca_file else "")

    @staticmethod
    def preload(cluster, **settings):
        lines = ["shared_preload_libraries = 'pgvigil'", "archive_library = 'pgvigil'", "pgvigil.compression = 'zstd:1'",
                 f"pgvigil.backup_threads = {PROCESSES}", "pgvigil.auto_first_backup = off"]
        lines += [f"pgvigil.{name} = '{value}'" for name, value in settings.items()]
        cluster.configure("\n".join(lines))

    @staticmethod
    def backup(cluster):
        begin = time.monotonic()
        cluster.sql("SELECT pgv_backup_now('full')")
        return time.monotonic() - begin

    def restore(self, url, directory):
        begin = time.monotonic()
        run([self.program, "restore", "--repository", url, "-D", directory])
        return time.monotonic() - begin
