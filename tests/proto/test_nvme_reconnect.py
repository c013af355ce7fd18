# SPDX-License-Identifier: BSD-3-Clause
from gantry import wait_until
from nvme_tcp import IO_READ, Host, must, rw


def test_300_connects_leave_memory_as_before(daemon, served, serves):
    """Each connection would leave something behind: memory, a descriptor, a controller."""
    def use(n):
        with Host(served.port, served.nqn, io_queues=2, entries=16 + n % 100) as host:
            must(host.io.write(n, bytes(4096)))
            host.ios[1].read(n, 256)
            for _ in range(8):
                host.io.submit(rw(IO_READ, 0, 256), expect=131072)
            if n % 3 == 0:
                for conn in [*host.ios, host.admin]:
                    conn.reset()

    def controllers():
        return len(daemon.rpc("nvmf_subsystem_get_controllers", nqn=served.nqn))

    for n in range(30):                      # what is touched once and kept
        use(n)
    wait_until(lambda: controllers() == 0, "all controllers to be gone")
    memory, descriptors = daemon.rss_kib(), daemon.fd_count()
    for n in range(300):
        use(n)
    wait_until(lambda: controllers() == 0, "all controllers to be gone")
    wait_until(lambda: daemon.fd_count() <= descriptors, f"descriptors to be {descriptors} again")
    grown = daemon.rss_kib() - memory
    assert daemon.is_sanitized or grown < 1024, f"{memory} KiB before, {grown} KiB more after"
    serves()
