/* SPDX-License-Identifier: BSD-3-Clause */
/* table.h: the metrics, one row each (private to metrics). Seconds and bytes are the units, as Prometheus has them. */
#ifndef METRICS_TABLE_H
#define METRICS_TABLE_H

/*   id                name                                    type         help */
#define METRICS(X) \
	X(BUILD,           "gantry_build_info",                    "gauge",     "Version of the daemon; always 1.") \
	X(PROC_START,      "process_start_time_seconds",           "gauge",     "When the process began, since 1970.") \
	X(PROC_CPU,        "process_cpu_seconds_total",            "counter",   "CPU time of all threads.") \
	X(PROC_RSS,        "process_resident_memory_bytes",        "gauge",     "Memory in use; RAM disks too.") \
	X(PROC_VIRTUAL,    "process_virtual_memory_bytes",         "gauge",     "Address space.") \
	X(PROC_FDS,        "process_open_fds",                     "gauge",     "Open file descriptors.") \
	X(PROC_FDS_MAX,    "process_max_fds",                      "gauge",     "Most file descriptors.") \
	X(CORE_MODE,       "gantry_core_mode",                     "gauge",     "What it does when idle; 1: this.") \
	X(CORE_BUSY,       "gantry_core_busy_seconds_total",       "counter",   "Time in passes that found work.") \
	X(CORE_IDLE,       "gantry_core_idle_seconds_total",       "counter",   "Time awake without work.") \
	X(CORE_SLEEP,      "gantry_core_sleep_seconds_total",      "counter",   "Time asleep.") \
	X(CORE_CPU,        "gantry_core_cpu_seconds_total",        "counter",   "CPU time of the core's thread.") \
	X(CORE_PASSES,     "gantry_core_passes_total",             "counter",   "Passes, by whether they found work.") \
	X(CORE_SLEEPS,     "gantry_core_sleeps_total",             "counter",   "Times it went to sleep.") \
	X(CORE_WAKES,      "gantry_core_wakeups_total",            "counter",   "What ended its sleeps.") \
	X(CORE_WORK,       "gantry_core_work_total",               "counter",   "Why it was awake: what it did, by kind.") \
	X(CORE_DEPTH,      "gantry_core_message_depth_max",        "gauge",     "Most messages that ever waited.") \
	X(CORE_AGE,        "gantry_core_message_age_max_seconds",  "gauge",     "Oldest message ever seen when taken.") \
	X(CORE_LONGEST,    "gantry_core_callback_max_seconds",     "gauge",     "The longest callback ever.") \
	X(CORE_LONGEST_CPU,"gantry_core_callback_cpu_max_seconds", "gauge",     "The most CPU time that a callback used.") \
	X(CORE_STALLS,     "gantry_core_stalls_total",             "counter",   "Reports of the stall guard.") \
	X(IO_STUCK,        "gantry_io_stuck_total",                "counter",   "Reports of the stuck-I/O watchdog.") \
	X(NOTES,           "gantry_notifications_total",           "counter",   "See notify_get_notifications.") \
	X(NOTES_DROPPED,   "gantry_notifications_dropped_total",   "counter",   "Too many at a time.") \
	X(MEM_BUDGET,      "gantry_memory_budget_bytes",           "gauge",     "The budget (--memory).") \
	X(MEM_CHARGED,     "gantry_memory_charged_bytes",          "gauge",     "Of it, command slots and such.") \
	X(MEM_IN_USE,      "gantry_memory_in_use_bytes",           "gauge",     "Of it, data buffers taken now.") \
	X(MEM_IN_USE_MAX,  "gantry_memory_in_use_max_bytes",       "gauge",     "Most buffers ever taken.") \
	X(MEM_WAITING,     "gantry_memory_waiting",                "gauge",     "Requests that wait for buffers.") \
	X(WAITS,           "gantry_waits_total",                   "counter",   "Waits by name, on a core.") \
	X(WAITING,         "gantry_waiting",                       "gauge",     "How many wait now.") \
	X(WAIT_TIME,       "gantry_wait_seconds_total",            "counter",   "Time of the waits that ended.") \
	X(WAIT_LONGEST,    "gantry_wait_max_seconds",              "gauge",     "The longest wait that ended.") \
	X(WAIT_ALARM,      "gantry_wait_alarm",                    "gauge",     "1 while a wait keeps growing.") \
	X(WAIT_ALARMS,     "gantry_wait_alarms_total",             "counter",   "Periods in which it kept growing.") \
	X(QUEUES,          "gantry_nvmf_queues",                   "gauge",     "Queue pairs connected now.") \
	X(QUEUES_EVER,     "gantry_nvmf_queues_total",             "counter",   "Queue pairs ever connected.") \
	X(COMMANDS,        "gantry_nvmf_commands_total",           "counter",   "Commands completed.") \
	X(ERRORS,          "gantry_nvmf_errors_total",             "counter",   "I/O commands that failed, by status.") \
	X(TRANSPORT,       "gantry_nvmf_transport_total",          "counter",   "Its counters, by event.") \
	X(TLS,             "gantry_nvmf_tls_handshakes_total",     "counter",   "Handshakes of TLS, by how they ended.") \
	X(CCR,             "gantry_nvmf_controller_resets_total",  "counter",   "Cross-controller resets, by event.") \
	X(SLOW,            "gantry_nvmf_slow_ios_total",           "counter",   "Slow I/Os, see nvmf_get_slow_ios.") \
	X(SLOW_LIMIT,      "gantry_nvmf_slow_io_limit_seconds",    "gauge",     "What takes longer is slow.") \
	X(HOST_IOS,        "gantry_host_ios_total",                "counter",   "I/O commands answered to a host.") \
	X(HOST_BYTES,      "gantry_host_bytes_total",              "counter",   "Data of these.") \
	X(HOST_ERRORS,     "gantry_host_errors_total",             "counter",   "I/O commands that failed or were lost.") \
	X(HOST_STAGE,      "gantry_host_stage_seconds",            "histogram", "Time of I/O commands, by stage.") \
	X(NS_IOS,          "gantry_namespace_ios_total",           "counter",   "I/O commands to a namespace.") \
	X(NS_BYTES,        "gantry_namespace_bytes_total",         "counter",   "Data of these.") \
	X(NS_ERRORS,       "gantry_namespace_errors_total",        "counter",   "I/O commands that failed or were lost.") \
	X(NS_STAGE,        "gantry_namespace_stage_seconds",       "histogram", "Time of I/O commands, by stage.") \
	X(QUEUE_IOS,       "gantry_queue_ios_total",               "counter",   "I/O commands of a queue pair.") \
	X(QUEUE_STAGE,     "gantry_queue_stage_seconds",           "histogram", "Time of I/O commands, by stage.") \
	X(SCSI_ERRORS,     "gantry_scsi_errors_total",             "counter",   "Commands that failed, by sense.") \
	X(SCSI_SLOW,       "gantry_scsi_slow_ios_total",           "counter",   "Slow commands, see scsi_get_slow_ios.") \
	X(SCSI_SLOW_LIMIT, "gantry_scsi_slow_io_limit_seconds",    "gauge",     "What takes longer is slow.") \
	X(LUN_IOS,         "gantry_lun_ios_total",                 "counter",   "SCSI commands to a LUN.") \
	X(LUN_BYTES,       "gantry_lun_bytes_total",               "counter",   "Data of these.") \
	X(LUN_ERRORS,      "gantry_lun_errors_total",              "counter",   "SCSI commands that failed or were lost.") \
	X(LUN_STAGE,       "gantry_lun_stage_seconds",             "histogram", "Time of SCSI commands, by stage.") \
	X(SESSION_IOS,     "gantry_session_ios_total",             "counter",   "SCSI commands of a session.") \
	X(SESSION_STAGE,   "gantry_session_stage_seconds",         "histogram", "Time of SCSI commands, by stage.") \
	X(VM_ERRORS,       "gantry_vhost_errors_total",            "counter",   "virtio-blk requests failed, by status.") \
	X(VM_SLOW,         "gantry_vhost_slow_ios_total",          "counter",   "Slow requests, see vhost_get_slow_ios.") \
	X(VM_SLOW_LIMIT,   "gantry_vhost_slow_io_limit_seconds",   "gauge",     "What takes longer is slow.") \
	X(VM_QUEUE_IOS,    "gantry_vhost_queue_ios_total",         "counter",   "virtio-blk requests of a queue.") \
	X(VM_QUEUE_STAGE,  "gantry_vhost_queue_stage_seconds",     "histogram", "Time of virtio-blk requests, by stage.") \
	X(DEV_OPS,         "gantry_bdev_ios_total",                "counter",   "Operations of a device.") \
	X(DEV_BYTES,       "gantry_bdev_bytes_total",              "counter",   "Data of these.") \
	X(DEV_ERRORS,      "gantry_bdev_errors_total",             "counter",   "Operations that failed.") \
	X(DEV_LATENCY,     "gantry_bdev_latency_seconds_total",    "counter",   "Time of the operations, added up.") \
	X(DEV_LATENCY_MAX, "gantry_bdev_latency_max_seconds",      "gauge",     "The longest operation.") \
	X(DEV_IN_FLIGHT,   "gantry_bdev_in_flight",                "gauge",     "Operations under way.") \
	X(DEV_SIZE,        "gantry_bdev_size_bytes",               "gauge",     "Size of a device.") \
	X(PATH_UP,         "gantry_remote_path_up",                "gauge",     "1: its controller is connected.") \
	X(PATH_TRIES,      "gantry_remote_connects_total",         "counter",   "Attempts to connect, and successes.") \
	X(PATH_ENDS,       "gantry_remote_ended_total",            "counter",   "How attempts and connections ended.") \
	X(PATH_IO,         "gantry_remote_io_total",               "counter",   "What happened to commands, by event.") \
	X(PATH_OUT,        "gantry_remote_outstanding",            "gauge",     "Commands under way.") \
	X(NODE_SESSIONS,   "gantry_iscsi_sessions",                "gauge",     "Sessions of a target node now.") \
	X(NODE_LOGINS,     "gantry_iscsi_logins_total",            "counter",   "Sessions ever logged in.") \
	X(NODE_COMMANDS,   "gantry_iscsi_commands_total",          "counter",   "SCSI commands received.") \
	X(NODE_PDUS,       "gantry_iscsi_pdus_total",              "counter",   "PDUs, by direction.") \
	X(NODE_BYTES,      "gantry_iscsi_bytes_total",             "counter",   "Bytes on the wire, by direction.") \
	X(ISCSI,           "gantry_iscsi_transport_total",         "counter",   "Its counters, by core and event.") \
	X(VM_SESSIONS,     "gantry_vhost_sessions",                "gauge",     "Front-ends of a vhost controller now.") \
	X(VM_QUEUES,       "gantry_vhost_queues",                  "gauge",     "Their queues that run.") \
	X(VM_IN_FLIGHT,    "gantry_vhost_in_flight",               "gauge",     "Requests under way.") \
	X(VM_EVER,         "gantry_vhost_sessions_total",          "counter",   "Front-ends that ever came.") \
	X(VM_COMMANDS,     "gantry_vhost_commands_total",          "counter",   "Requests taken from guests.") \
	X(VM_KICKS,        "gantry_vhost_kicks_total",             "counter",   "Times a guest woke a queue.") \
	X(VM_CALLS,        "gantry_vhost_interrupts_total",        "counter",   "Interrupts sent to guests.") \
	X(LEFT_OUT,        "gantry_metrics_left_out",              "gauge",     "Objects beyond the limits, by kind.") \
	X(SCRAPES,         "gantry_metrics_gathered_total",        "counter",   "Times these metrics were gathered.")
#define METRIC_ENUM(id, name, type, help) METRIC_##id,
enum metric { METRICS(METRIC_ENUM) METRIC_COUNT };

#endif
