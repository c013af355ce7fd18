# SPDX-License-Identifier: BSD-3-Clause
"""The guest as an NVMe host: connects, runs fio, tells what its kernel sees."""
import json
from pathlib import Path

from guest import Guest

LIBRARIES = [Path(__file__).with_name(f"{name}_lib.sh") for name in ("guest", "nvmet", "iscsi", "rdma")]
FIO = ("fio --ioengine=libaio --direct=1 --group_reporting --output-format=json --verify_state_save=0 "
       "--allow_file_create=0")


class Client(Guest):
    """A guest with nvme-tcp loaded and the words of guest_lib.sh at hand."""

    def start(self, script):
        return super().start(f". /tmp/share/lib.sh\n{script}\n")

    def boot(self):
        (self.share / "lib.sh").write_text("".join(path.read_text() for path in LIBRARIES))
        super().boot()
        self.run("mkdir -p /etc/nvme; id=$(cat /proc/sys/kernel/random/uuid); echo $id > /etc/nvme/hostid; "
                 "echo nqn.2014-08.org.nvmexpress:uuid:$id > /etc/nvme/hostnqn; modprobe nvme-tcp")

    def connect(self, served, options="-i 2", port=None):
        """Connect, and tell the block device of namespace 1."""
        return self.run(f"nvme_connect {served.nqn} {port or served.port} {options}; disk_of {served.nqn} 1 > "
                        f"/tmp/disk; cat /tmp/disk").split()[-1]

    def disk(self, served, nsid):
        return self.run(f"disk_of {served.nqn} {nsid}").strip()

    def fio(self, device, options, name="job"):
        """A running fio; with fio_result() comes what it did."""
        return self.start(f"{FIO} --name={name} --filename={device} {options}")

    def ios_done(self, device):
        """I/Os the kernel has completed on a block device, or on the paths to it: proves that I/O goes on."""
        return int(self.run(f"ios_done {device}"))

    def live_controllers(self, served):
        return int(self.run(f"live_count {served.nqn}"))

    def tidy(self):
        """As after boot."""
        self.run("umount -A /mnt 2> /dev/null || true; iscsi_clear; nvmet_clear; nvme disconnect-all; "
                 "! ls -d /sys/class/nvme/nvme* 2> /dev/null", timeout_s=120)


def fio_result(output):
    """What fio says in JSON, of the only job."""
    return json.loads(output[output.index("{"):])["jobs"][0]
