/* SPDX-License-Identifier: BSD-3-Clause */
/* absent.c: who calls a method of SPDK's that there is none of here is told so, and what does it instead. */
#include "rpc/absent.h"

#include <stddef.h>
#include <string.h>

#include "base/base.h"

/* Families by what their names begin with; the first that fits. */
static const struct absent {
	const char *begin, *because;
} absent[] = {
	{ "accel_get_stats",     "nothing is offloaded, and nothing of it is counted; bdev_get_iostat counts I/O" },
	{ "accel_",              "there is no acceleration framework; CPUs do what there is to do" },
	{ "bdev_crypto_",        "disks are not encrypted here; put dm-crypt below bdev_uring_create" },
	{ "bdev_daos_",          "there are no disks of DAOS; mount it and use bdev_uring_create" },
	{ "bdev_ftl_",           "there is no flash translation layer; use bdev_uring_create" },
	{ "bdev_iscsi_",         "there is no iSCSI initiator; log in with iscsiadm and use bdev_uring_create" },
	{ "bdev_lvol_",          "there are no logical volumes; use bdev_split_create, or LVM's below bdev_uring_create" },
	{ "bdev_nvme_cuse_",     "remote controllers have no character device; use nvme_identify and bdev_nvme_send_cmd" },
	{ "bdev_nvme_opal_",     "there are no local NVMe devices, and no Opal; use sedutil-cli and bdev_uring_create" },
	{ "bdev_opal_",          "there are no local NVMe devices, and no Opal; use sedutil-cli and bdev_uring_create" },
	{ "bdev_ocf_",           "nothing is cached here; put bcache or dm-cache below bdev_uring_create" },
	{ "bdev_raid_add_base_bdev",    "nothing is rebuilt: there are concat and raid0; use md below bdev_uring_create" },
	{ "bdev_raid_remove_base_bdev", "nothing is rebuilt: there are concat and raid0; use md below bdev_uring_create" },
	{ "bdev_rbd_",           "there are no disks of Ceph; map one with rbd map and use bdev_uring_create" },
	{ "bdev_virtio_blk_set_hotplug", "virtio disks come by vhost-user only; use bdev_virtio_attach_controller" },
	{ "bdev_xnvme_",         "there is no xNVMe; use bdev_uring_create" },
	{ "bdev_zone_block_",    "there are no zones; use the disk itself" },
	{ "env_dpdk_",           "there is no DPDK; framework_get_memory tells of memory" },
	{ "fsdev_",              "there are no file system devices; export a disk" },
	{ "iscsi_get_histogram", "times are kept by disk; use bdev_enable_histogram and bdev_get_histogram" },
	{ "nbd_",                "there are no NBD devices; export the disk and use nvme connect on this machine" },
	{ "trace_clear",         "the rings overwrite what is oldest; give gantry-trace a time, or start with another -i" },
	{ "ublk_",               "there are no ublk devices; export the disk and use nvme connect on this machine" },
	{ "vfu_",                "there is no vfio-user; use vhost_create_blk_controller" },
	{ "virtio_blk_create_transport", "vhost_user_blk is there from the beginning, and no other; leave it out" },
	{ "vmd_",                "the kernel looks after VMD; use bdev_uring_create" },
};

const char *absent_because(const char *method)
{
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++)
		if (strncmp(method, absent[i].begin, strlen(absent[i].begin)) == 0)
			return absent[i].because;
	return NULL;
}
