# SPDX-License-Identifier: BSD-3-Clause
"""JSON-RPC as raw bytes over a UNIX socket, for tests that want to send what no client would."""
import json
import os
import socket
import subprocess

from gantry import BUILD, Daemon


class Waiting(Daemon):
    """A daemon started with --wait-for-rpc: it is there when it answers, not when it runs."""

    def __init__(self, directory, *args):
        super().__init__(directory, "--wait-for-rpc", *args)

    def answers(self):
        try:
            return self.rpc("rpc_get_methods")
        except OSError:
            return False


class Raw:
    """One connection; sends bytes as they are and takes answers apart."""

    def __init__(self, path, timeout_s=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))      # blocking: waits when the queue of connections is full
        self.socket.settimeout(timeout_s)
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def answer(self):
        """The next JSON value."""
        while True:
            text = self.text.lstrip()
            try:
                value, end = json.JSONDecoder().raw_decode(text)
                self.text = text[end:]
                return value
            except ValueError:
                pass
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError(f"the connection ended; so far: {self.text[:200]!r}")
            self.text += more.decode()

    def at_end(self):
        """Has the daemon closed its side, with nothing more to say?"""
        return not self.text.strip() and self.socket.recv(65536) == b""

    def call(self, method, id=1, **params):
        self.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
        return self.answer()


def request(method, id=1, **params):
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def gantry(*args, socket=None, status=0, **environment):
    """Run the command line tool; its output, after a look at its exit status."""
    command = [BUILD / "gantry", *(["-s", socket] if socket else []), *args]
    done = subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **environment})
    assert status is None or done.returncode == status, f"status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stderr if status else done.stdout
