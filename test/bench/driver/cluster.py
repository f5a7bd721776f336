"""A PostgreSQL server for a measurement."""
import os
import shutil
import socket
import subprocess
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, seconds=600, pause=0.005):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"timed out waiting for {what}")
        time.sleep(pause)


def run(command, **options):
    """Runs a command and returns its standard output; what it wrote is in the error."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} … failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


class Cluster:
    """One data directory and its server. Connections go through a socket in the work directory."""

    started = []

    @classmethod
    def stop_all(cls):
        """Nothing outlives the run, however it ends."""
        for cluster in cls.started:
            try:
                cluster.stop("immediate")
            except RuntimeError:
                pass

    def __init__(self, bindir, work, name):
        self.bindir, self.name = bindir, name
        self.data = os.path.join(work, name)
        self.log = self.data + ".log"
        self.socket_directory = work
        self.port = free_port()

    def program(self, name):
        return os.path.join(self.bindir, name)

    @property
    def version(self):
        return run([self.program("postgres"), "--version"]).split()[2]

    @property
    def major(self):
        return int(self.version.split(".")[0].rstrip("abcdefghijklmnopqrstuvwxyz"))

    def initialise(self):
        run([self.program("initdb"), "-k", "-N", "-A", "trust", "-U", "postgres", "-D", self.data])
        self.configure(f"""
listen_addresses = ''
unix_socket_directories = '{self.socket_directory}'
shared_buffers = 256MB
max_wal_size = 32GB
checkpoint_timeout = 1h
wal_level = replica
max_wal_senders = 5
archive_mode = on
autovacuum = off
synchronous_commit = off
""")
        if self.major >= 17:
            self.configure("summarize_wal = on")

    def configure(self, text):
        """Later lines win over earlier ones."""
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(text + "\n")

    def start(self):
        self.started.append(self)
        try:
            run([self.program("pg_ctl"), "-w", "-t", "600", "-D", self.data, "-l", self.log, "-o", f"-p {self.port}", "start"],
                env={**os.environ, "PGPORT": str(self.port)})
        except RuntimeError as error:
            with open(self.log, encoding="utf-8") as file:
                raise RuntimeError(f"{error}\n{file.read()[-4000:]}") from None

    def stop(self, mode="fast"):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            run([self.program("pg_ctl"), "-w", "-t", "600", "-D", self.data, "-m", mode, "stop"])

    def reload(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
            os.kill(int(file.readline()), 1)

    def sql(self, text, database="postgres"):
        return run([self.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.socket_directory, "-p", str(self.port),
                    "-U", "postgres", "-d", database, "-c", text]).strip()

    def pgbench(self, *arguments):
        return run([self.program("pgbench"), "-h", self.socket_directory, "-p", str(self.port), "-U", "postgres",
                    *arguments, "postgres"])

    def ready_files(self):
        """Names of segments that wait for the archive."""
        directory = os.path.join(self.data, "pg_wal", "archive_status")
        return sorted(name[:-6] for name in os.listdir(directory) if name.endswith(".ready") and len(name) == 30)

    def clone(self, name):
        """A stopped cluster's copy, with a port of its own."""
        other = Cluster(self.bindir, self.socket_directory, name)
        run(["cp", "-a", self.data, other.data])
        return other

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.data, ignore_errors=True)

    def data_files(self):
        """The files a full backup reads."""
        skipped = {"pg_wal", "pg_stat_tmp", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots",
                   "pg_subtrans"}
        for directory, directories, files in os.walk(self.data):
            if directory == self.data:
                directories[:] = [entry for entry in directories if entry not in skipped]
            for name in files:
                if not name.startswith(("pgsql_tmp", "postmaster", "pg_internal.init")):
                    yield os.path.join(directory, name)
