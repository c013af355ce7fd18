# SPDX-License-Identifier: BSD-3-Clause
"""The guest's kernel as an NVMe/TCP target: subsystems on two ports that tests cut, silence, and change under a host.

    kernel = target.export()                         namespaces 1 (512 byte blocks) and 2 (4 KiB), both ports
    kernel.path(0)                                   for gantry-perf -r and for bdev_nvme_attach_controller
    kernel.unlink(0) ... kernel.link(0)              the connections of a port are closed; it is there again
    target.mute(1) ... target.speak(1)               what is sent to a port is lost
"""
from dataclasses import dataclass

FORWARDS = (("10.0.2.15", 4420), ("10.0.2.16", 4421))
NQN = "nqn.2026-01.io.gantry:kernel"
RAM_MIB = 64


@dataclass(frozen=True)
class Exported:
    """A subsystem of the guest's; its ports are counted from 0."""
    target: "Target"
    nqn: str

    def path(self, port=0):
        return (f"trtype:TCP adrfam:IPv4 traddr:127.0.0.1 trsvcid:{self.target.guest.ports[port]} subnqn:{self.nqn}")

    def address(self, port=0):
        """As parameters of methods."""
        return {"trtype": "TCP", "adrfam": "IPv4", "traddr": "127.0.0.1",
                "trsvcid": str(self.target.guest.ports[port]), "subnqn": self.nqn}

    def link(self, port):
        self.target.run(f"nvmet_link {self.nqn} {port + 1}")

    def unlink(self, port):
        self.target.run(f"nvmet_unlink {self.nqn} {port + 1}")

    def remove(self):
        self.target.run(f"nvmet_remove {self.nqn}")

    def namespace(self, nsid, attribute, value):
        self.target.run(f"echo {value} > $NVMET/subsystems/{self.nqn}/namespaces/{nsid}/{attribute}")

    def resize(self, nsid, mib):
        """Of a namespace in a file."""
        self.target.run(f"truncate -s {mib}M /dev/shm/{self.nqn.split(':')[-1]}-{nsid}")
        self.namespace(nsid, "revalidate_size", 1)


class Target:
    def __init__(self, guest):
        self.guest = guest
        self.run("nvmet_load; nvmet_port 1; nvmet_port 2")

    def run(self, script):
        return self.guest.run(script)

    def export(self, nqn=NQN, ports=(0, 1), file_mib=64):
        script = f"nvmet_subsystem {nqn}; nvmet_ram {nqn} 1; nvmet_file {nqn} 2 {file_mib}\n"
        self.run(script + "".join(f"nvmet_link {nqn} {port + 1}\n" for port in ports))
        return Exported(self, nqn)

    def mute(self, port):
        self.run(f"nvmet_mute {port + 1}")

    def speak(self, port):
        self.run(f"nvmet_speak {port + 1}")

    def ana(self, port, state, group=1):
        """optimized, non-optimized, inaccessible, persistent-loss, change"""
        self.run(f"nvmet_ana {port + 1} {group} {state}")
