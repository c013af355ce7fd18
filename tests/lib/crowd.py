# SPDX-License-Identifier: BSD-3-Clause
"""Many connections at once: hosts with as many I/O queues as make `count` connections, admin queues included."""
import resource

from nvme_tcp import Host, must

QUEUES_OF_A_HOST = 124       # I/O queues; a controller has up to 127


class Crowd:
    """`count` connections, each with a queue of `entries`; closed at the end of the block."""

    def __init__(self, served, count, entries=128):
        allow_descriptors(count + 100)
        self.hosts, left = [], count
        try:
            while left:
                queues = min(QUEUES_OF_A_HOST, left - 1)
                self.hosts.append(Host(served.port, served.nqn, io_queues=queues, entries=entries))
                left -= queues + 1
        except Exception as e:
            self.close()
            raise AssertionError(f"of {count} connections the target did not take the last {left}: {e}") from e

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def ios(self):
        return [io for host in self.hosts for io in host.ios]

    def use(self, data, block_size=512):
        """Each I/O queue writes and reads once, in a block range of its own."""
        blocks = len(data) // block_size
        for n, io in enumerate(self.ios):
            must(io.write(n * blocks, data, block_size))
            assert io.read(n * blocks, blocks, block_size) == data

    def close(self):
        for host in self.hosts:
            host.close()
        self.hosts = []


def allow_descriptors(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or count <= hard, f"ulimit -Hn is {hard}, {count} are needed"
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
