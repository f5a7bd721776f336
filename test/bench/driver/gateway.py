"""What the S3 server itself counts: requests and bytes, from the gateway's admin socket. It counts alike for every tool, and
costs nothing while a measurement runs."""
import glob
import json
import os
import socket
import struct


class Gateway:
    """The counters of the RADOS Gateway that runs in a directory (scripts/rados-gateway)."""

    def __init__(self, directory):
        self.directory = directory

    def _ask(self, path):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(path)
            connection.sendall(b'{"prefix": "perf dump"}\0')
            head = connection.recv(4, socket.MSG_WAITALL)
            length = struct.unpack(">I", head)[0]
            return json.loads(connection.recv(length, socket.MSG_WAITALL))

    def counters(self):
        """Requests, and bytes that were PUT."""
        for path in glob.glob(os.path.join(self.directory, "run", "*.asok")):
            for values in self._ask(path).values():
                if isinstance(values, dict) and "put_b" in values and "req" in values:
                    return {"requests": values["req"], "bytes": values["put_b"]}
        raise RuntimeError(f"no gateway answers in {self.directory}")
