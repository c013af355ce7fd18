/* SPDX-License-Identifier: BSD-3-Clause */
/* nvme_codes.h: NVMe's codes as tables: opcodes, statuses, Identify, log pages, features, events,
 * properties.
 *
 * Tables only, so that this file can be expanded beside another's definitions: wire_peer.c compares each
 * row with libnvme's. nvme.h makes the enums; nvme.c the names. Witnesses: libnvme's types.h, SPDK's
 * nvme_spec.h for what libnvme 1.3 does not know.
 */
#ifndef WIRE_NVME_CODES_H
#define WIRE_NVME_CODES_H

/* Direction of data is the two low bits of every opcode and of every fabrics command type:
 * NONE 0, H2C 1 (host to controller), C2H 2 (controller to host), BIDI 3. */

/*        opcode  name                  text                                   data */
#define NVME_ADMIN_OPCODES(X) \
	X(0x00, DELETE_SQ,             "Delete I/O Submission Queue",         NONE) \
	X(0x01, CREATE_SQ,             "Create I/O Submission Queue",         H2C)  \
	X(0x02, GET_LOG_PAGE,          "Get Log Page",                        C2H)  \
	X(0x04, DELETE_CQ,             "Delete I/O Completion Queue",         NONE) \
	X(0x05, CREATE_CQ,             "Create I/O Completion Queue",         H2C)  \
	X(0x06, IDENTIFY,              "Identify",                            C2H)  \
	X(0x08, ABORT_CMD,             "Abort",                               NONE) \
	X(0x09, SET_FEATURES,          "Set Features",                        H2C)  \
	X(0x0a, GET_FEATURES,          "Get Features",                        C2H)  \
	X(0x0c, ASYNC_EVENT,           "Asynchronous Event Request",          NONE) \
	X(0x0d, NS_MGMT,               "Namespace Management",                H2C)  \
	X(0x10, FW_COMMIT,             "Firmware Commit",                     NONE) \
	X(0x11, FW_DOWNLOAD,           "Firmware Image Download",             H2C)  \
	X(0x14, DEV_SELF_TEST,         "Device Self-test",                    NONE) \
	X(0x15, NS_ATTACH,             "Namespace Attachment",                H2C)  \
	X(0x18, KEEP_ALIVE,            "Keep Alive",                          NONE) \
	X(0x19, DIRECTIVE_SEND,        "Directive Send",                      H2C)  \
	X(0x1a, DIRECTIVE_RECV,        "Directive Receive",                   C2H)  \
	X(0x1c, VIRTUAL_MGMT,          "Virtualization Management",           NONE) \
	X(0x1d, NVME_MI_SEND,          "NVMe-MI Send",                        H2C)  \
	X(0x1e, NVME_MI_RECV,          "NVMe-MI Receive",                     C2H)  \
	X(0x20, CAPACITY_MGMT,         "Capacity Management",                 NONE) \
	X(0x21, DISCOVERY_INFO_MGMT,   "Discovery Information Management",    H2C)  \
	X(0x22, FABRIC_ZONING_RECV,    "Fabric Zoning Receive",               C2H)  \
	X(0x24, LOCKDOWN,              "Lockdown",                            NONE) \
	X(0x25, FABRIC_ZONING_LOOKUP,  "Fabric Zoning Lookup",                H2C)  \
	X(0x29, FABRIC_ZONING_SEND,    "Fabric Zoning Send",                  H2C)  \
	X(0x38, CROSS_CTRL_RESET,      "Cross-Controller Reset",              NONE) \
	X(0x7c, DBBUF,                 "Doorbell Buffer Config",              NONE) \
	X(0x7f, FABRICS,               "Fabrics Command",                     BIDI) \
	X(0x80, FORMAT_NVM,            "Format NVM",                          NONE) \
	X(0x81, SECURITY_SEND,         "Security Send",                       H2C)  \
	X(0x82, SECURITY_RECV,         "Security Receive",                    C2H)  \
	X(0x84, SANITIZE_NVM,          "Sanitize",                            NONE) \
	X(0x86, GET_LBA_STATUS,        "Get LBA Status",                      C2H)

/*        opcode  name                  text                                   data */
#define NVME_IO_OPCODES(X) \
	X(0x00, FLUSH,                 "Flush",                               NONE) \
	X(0x01, WRITE,                 "Write",                               H2C)  \
	X(0x02, READ,                  "Read",                                C2H)  \
	X(0x04, WRITE_UNCOR,           "Write Uncorrectable",                 NONE) \
	X(0x05, COMPARE,               "Compare",                             H2C)  \
	X(0x08, WRITE_ZEROES,          "Write Zeroes",                        NONE) \
	X(0x09, DSM,                   "Dataset Management",                  H2C)  \
	X(0x0c, VERIFY,                "Verify",                              NONE) \
	X(0x0d, RESV_REGISTER,         "Reservation Register",                H2C)  \
	X(0x0e, RESV_REPORT,           "Reservation Report",                  C2H)  \
	X(0x11, RESV_ACQUIRE,          "Reservation Acquire",                 H2C)  \
	X(0x12, IO_MGMT_RECV,          "I/O Management Receive",              C2H)  \
	X(0x15, RESV_RELEASE,          "Reservation Release",                 H2C)  \
	X(0x19, COPY,                  "Copy",                                H2C)  \
	X(0x1d, IO_MGMT_SEND,          "I/O Management Send",                 H2C)  \
	X(0x79, ZONE_MGMT_SEND,        "Zone Management Send",                H2C)  \
	X(0x7a, ZONE_MGMT_RECV,        "Zone Management Receive",             C2H)  \
	X(0x7d, ZONE_APPEND,           "Zone Append",                         H2C)

/*        type    name                  text                                   data */
#define NVME_FABRICS_TYPES(X) \
	X(0x00, PROPERTY_SET,          "Property Set",                        NONE) \
	X(0x01, CONNECT,               "Connect",                             H2C)  \
	X(0x04, PROPERTY_GET,          "Property Get",                        NONE) \
	X(0x05, AUTH_SEND,             "Authentication Send",                 H2C)  \
	X(0x06, AUTH_RECEIVE,          "Authentication Receive",              C2H)  \
	X(0x08, DISCONNECT,            "Disconnect",                          NONE)

/* Status codes. The value is (status code type << 8 | status code); the groups are those of the standard.
 * Command-specific codes from 80h up mean one thing for fabrics commands and another for I/O commands. */

/*        status  name                              text */
#define NVME_STATUS_GENERIC(X) \
	X(0x000, SUCCESS,                      "Successful Completion") \
	X(0x001, INVALID_OPCODE,               "Invalid Command Opcode") \
	X(0x002, INVALID_FIELD,                "Invalid Field in Command") \
	X(0x003, CMDID_CONFLICT,               "Command ID Conflict") \
	X(0x004, DATA_XFER_ERROR,              "Data Transfer Error") \
	X(0x005, POWER_LOSS,                   "Commands Aborted due to Power Loss Notification") \
	X(0x006, INTERNAL,                     "Internal Error") \
	X(0x007, ABORT_REQ,                    "Command Abort Requested") \
	X(0x008, ABORT_QUEUE,                  "Command Aborted due to SQ Deletion") \
	X(0x009, FUSED_FAIL,                   "Command Aborted due to Failed Fused Command") \
	X(0x00a, FUSED_MISSING,                "Command Aborted due to Missing Fused Command") \
	X(0x00b, INVALID_NS,                   "Invalid Namespace or Format") \
	X(0x00c, CMD_SEQ_ERROR,                "Command Sequence Error") \
	X(0x00d, SGL_INVALID_LAST,             "Invalid SGL Segment Descriptor") \
	X(0x00e, SGL_INVALID_COUNT,            "Invalid Number of SGL Descriptors") \
	X(0x00f, SGL_INVALID_DATA,             "Data SGL Length Invalid") \
	X(0x010, SGL_INVALID_METADATA,         "Metadata SGL Length Invalid") \
	X(0x011, SGL_INVALID_TYPE,             "SGL Descriptor Type Invalid") \
	X(0x012, CMB_INVALID_USE,              "Invalid Use of Controller Memory Buffer") \
	X(0x013, PRP_INVALID_OFFSET,           "PRP Offset Invalid") \
	X(0x014, AWU_EXCEEDED,                 "Atomic Write Unit Exceeded") \
	X(0x015, OP_DENIED,                    "Operation Denied") \
	X(0x016, SGL_INVALID_OFFSET,           "SGL Offset Invalid") \
	X(0x018, HOSTID_FORMAT,                "Host Identifier Inconsistent Format") \
	X(0x019, KAT_EXPIRED,                  "Keep Alive Timer Expired") \
	X(0x01a, KAT_INVALID,                  "Keep Alive Timeout Invalid") \
	X(0x01b, CMD_ABORTED_PREEMPT,          "Command Aborted due to Preempt and Abort") \
	X(0x01c, SANITIZE_FAILED,              "Sanitize Failed") \
	X(0x01d, SANITIZE_IN_PROGRESS,         "Sanitize In Progress") \
	X(0x01e, SGL_INVALID_GRANULARITY,      "SGL Data Block Granularity Invalid") \
	X(0x01f, CMD_IN_CMBQ_NOT_SUPP,         "Command Not Supported for Queue in CMB") \
	X(0x020, NS_WRITE_PROTECTED,           "Namespace is Write Protected") \
	X(0x021, CMD_INTERRUPTED,              "Command Interrupted") \
	X(0x022, TRAN_TPORT_ERROR,             "Transient Transport Error") \
	X(0x023, PROHIBITED_BY_CMD_AND_FEAT,   "Command Prohibited by Command and Feature Lockdown") \
	X(0x024, ADMIN_CMD_MEDIA_NOT_READY,    "Admin Command Media Not Ready") \
	X(0x029, FDP_DISABLED,                 "Flexible Data Placement Disabled") \
	X(0x02a, INVALID_PLACEMENT_LIST,       "Invalid Placement Handle List") \
	X(0x080, LBA_RANGE,                    "LBA Out of Range") \
	X(0x081, CAP_EXCEEDED,                 "Capacity Exceeded") \
	X(0x082, NS_NOT_READY,                 "Namespace Not Ready") \
	X(0x083, RESERVATION_CONFLICT,         "Reservation Conflict") \
	X(0x084, FORMAT_IN_PROGRESS,           "Format In Progress")

/*        status  name                              text */
#define NVME_STATUS_CMD_SPECIFIC(X) \
	X(0x100, CQ_INVALID,                   "Completion Queue Invalid") \
	X(0x101, QID_INVALID,                  "Invalid Queue Identifier") \
	X(0x102, QUEUE_SIZE,                   "Invalid Queue Size") \
	X(0x103, ABORT_LIMIT,                  "Abort Command Limit Exceeded") \
	X(0x105, ASYNC_LIMIT,                  "Asynchronous Event Request Limit Exceeded") \
	X(0x106, FIRMWARE_SLOT,                "Invalid Firmware Slot") \
	X(0x107, FIRMWARE_IMAGE,               "Invalid Firmware Image") \
	X(0x108, INVALID_VECTOR,               "Invalid Interrupt Vector") \
	X(0x109, INVALID_LOG_PAGE,             "Invalid Log Page") \
	X(0x10a, INVALID_FORMAT,               "Invalid Format") \
	X(0x10b, FW_NEEDS_CONV_RESET,          "Firmware Activation Requires Conventional Reset") \
	X(0x10c, INVALID_QUEUE,                "Invalid Queue Deletion") \
	X(0x10d, FEATURE_NOT_SAVEABLE,         "Feature Identifier Not Saveable") \
	X(0x10e, FEATURE_NOT_CHANGEABLE,       "Feature Not Changeable") \
	X(0x10f, FEATURE_NOT_PER_NS,           "Feature Not Namespace Specific") \
	X(0x110, FW_NEEDS_SUBSYS_RESET,        "Firmware Activation Requires NVM Subsystem Reset") \
	X(0x111, FW_NEEDS_RESET,               "Firmware Activation Requires Controller Level Reset") \
	X(0x112, FW_NEEDS_MAX_TIME,            "Firmware Activation Requires Maximum Time Violation") \
	X(0x113, FW_ACTIVATE_PROHIBITED,       "Firmware Activation Prohibited") \
	X(0x114, OVERLAPPING_RANGE,            "Overlapping Range") \
	X(0x115, NS_INSUFFICIENT_CAP,          "Namespace Insufficient Capacity") \
	X(0x116, NS_ID_UNAVAILABLE,            "Namespace Identifier Unavailable") \
	X(0x118, NS_ALREADY_ATTACHED,          "Namespace Already Attached") \
	X(0x119, NS_IS_PRIVATE,                "Namespace Is Private") \
	X(0x11a, NS_NOT_ATTACHED,              "Namespace Not Attached") \
	X(0x11b, THIN_PROV_NOT_SUPP,           "Thin Provisioning Not Supported") \
	X(0x11c, CTRL_LIST_INVALID,            "Controller List Invalid") \
	X(0x11d, SELF_TEST_IN_PROGRESS,        "Device Self-test In Progress") \
	X(0x11e, BP_WRITE_PROHIBITED,          "Boot Partition Write Prohibited") \
	X(0x11f, INVALID_CTRL_ID,              "Invalid Controller Identifier") \
	X(0x120, INVALID_SEC_CTRL_STATE,       "Invalid Secondary Controller State") \
	X(0x121, INVALID_CTRL_RESOURCES,       "Invalid Number of Controller Resources") \
	X(0x122, INVALID_RESOURCE_ID,          "Invalid Resource Identifier") \
	X(0x123, PMR_SAN_PROHIBITED,           "Sanitize Prohibited While Persistent Memory Region is Enabled") \
	X(0x124, ANA_GROUP_ID_INVALID,         "ANA Group Identifier Invalid") \
	X(0x125, ANA_ATTACH_FAILED,            "ANA Attach Failed") \
	X(0x126, INSUFFICIENT_CAP,             "Insufficient Capacity") \
	X(0x127, NS_ATTACHMENT_LIMIT_EXCEEDED, "Namespace Attachment Limit Exceeded") \
	X(0x128, PROHIBIT_CMD_EXEC_NOT_SUPPORTED, "Prohibition of Command Execution Not Supported") \
	X(0x129, IOCS_NOT_SUPPORTED,           "I/O Command Set Not Supported") \
	X(0x12a, IOCS_NOT_ENABLED,             "I/O Command Set Not Enabled") \
	X(0x12b, IOCS_COMBINATION_REJECTED,    "I/O Command Set Combination Rejected") \
	X(0x12c, INVALID_IOCS,                 "Invalid I/O Command Set") \
	X(0x12d, ID_UNAVAILABLE,               "Identifier Unavailable") \
	X(0x12f, INVALID_DISCOVERY_INFO,       "Invalid Discovery Information") \
	X(0x130, ZONING_DATA_STRUCT_LOCKED,    "Zoning Data Structure Locked") \
	X(0x131, ZONING_DATA_STRUCT_NOTFND,    "Zoning Data Structure Not Found") \
	X(0x132, INSUFFICIENT_DISC_RES,        "Insufficient Discovery Resources") \
	X(0x133, REQSTD_FUNCTION_DISABLED,     "Requested Function Disabled") \
	X(0x134, ZONEGRP_ORIGINATOR_INVLD,     "ZoneGroup Originator Invalid") \
	X(0x13f, CCR_IN_PROGRESS,              "Cross-Controller Reset in Progress") \
	X(0x140, CCR_LOG_FULL,                 "Cross-Controller Reset Log Page Full") \
	X(0x141, CCR_LIMIT_EXCEEDED,           "Cross-Controller Reset Limit Exceeded") \
	X(0x17f, STREAM_RESOURCE_FAILED,       "Stream Resource Allocation Failed")

/*        status  name                              text */
#define NVME_STATUS_IO_SPECIFIC(X) \
	X(0x180, BAD_ATTRIBUTES,               "Conflicting Attributes") \
	X(0x181, INVALID_PI,                   "Invalid Protection Information") \
	X(0x182, READ_ONLY,                    "Attempted Write to Read Only Range") \
	X(0x183, CMD_SIZE_LIMIT_EXCEEDED,      "Command Size Limit Exceeded") \
	X(0x185, INCOMPATIBLE_NS,              "Incompatible Namespace or Format") \
	X(0x186, FAST_COPY_NOT_POSSIBLE,       "Fast Copy Not Possible") \
	X(0x187, OVERLAPPING_IO_RANGE,         "Overlapping I/O Range") \
	X(0x1b6, ZNS_INVALID_OP_REQUEST,       "Invalid Zone Operation Request") \
	X(0x1b7, ZNS_ZRWA_RESOURCES_UNAVAILABLE, "ZRWA Resources Unavailable") \
	X(0x1b8, ZNS_BOUNDARY_ERROR,           "Zoned Boundary Error") \
	X(0x1b9, ZNS_FULL,                     "Zone Is Full") \
	X(0x1ba, ZNS_READ_ONLY,                "Zone Is Read Only") \
	X(0x1bb, ZNS_OFFLINE,                  "Zone Is Offline") \
	X(0x1bc, ZNS_INVALID_WRITE,            "Zone Invalid Write") \
	X(0x1bd, ZNS_TOO_MANY_ACTIVE,          "Too Many Active Zones") \
	X(0x1be, ZNS_TOO_MANY_OPENS,           "Too Many Open Zones") \
	X(0x1bf, ZNS_INVAL_TRANSITION,         "Invalid Zone State Transition")

/*        status  name                              text */
#define NVME_STATUS_FABRICS_SPECIFIC(X) \
	X(0x180, CONNECT_FORMAT,               "Connect Incompatible Format") \
	X(0x181, CONNECT_CTRL_BUSY,            "Connect Controller Busy") \
	X(0x182, CONNECT_INVALID_PARAM,        "Connect Invalid Parameters") \
	X(0x183, CONNECT_RESTART_DISC,         "Connect Restart Discovery") \
	X(0x184, CONNECT_INVALID_HOST,         "Connect Invalid Host") \
	X(0x185, DISCONNECT_INVALID_QTYPE,     "Disconnect Invalid Queue Type") \
	X(0x190, DISCOVERY_RESTART,            "Discover Restart") \
	X(0x191, AUTH_REQUIRED,                "Authentication Required")

/*        status  name                              text */
#define NVME_STATUS_MEDIA(X) \
	X(0x280, WRITE_FAULT,                  "Write Fault") \
	X(0x281, READ_ERROR,                   "Unrecovered Read Error") \
	X(0x282, GUARD_CHECK,                  "End-to-end Guard Check Error") \
	X(0x283, APPTAG_CHECK,                 "End-to-end Application Tag Check Error") \
	X(0x284, REFTAG_CHECK,                 "End-to-end Reference Tag Check Error") \
	X(0x285, COMPARE_FAILED,               "Compare Failure") \
	X(0x286, ACCESS_DENIED,                "Access Denied") \
	X(0x287, UNWRITTEN_BLOCK,              "Deallocated or Unwritten Logical Block") \
	X(0x288, STORAGE_TAG_CHECK,            "End-to-end Storage Tag Check Error")

/*        status  name                              text */
#define NVME_STATUS_PATH(X) \
	X(0x300, ANA_INTERNAL_PATH_ERROR,      "Internal Path Error") \
	X(0x301, ANA_PERSISTENT_LOSS,          "Asymmetric Access Persistent Loss") \
	X(0x302, ANA_INACCESSIBLE,             "Asymmetric Access Inaccessible") \
	X(0x303, ANA_TRANSITION,               "Asymmetric Access Transition") \
	X(0x360, CTRL_PATH_ERROR,              "Controller Pathing Error") \
	X(0x370, HOST_PATH_ERROR,              "Host Pathing Error") \
	X(0x371, CMD_ABORTED_BY_HOST,          "Command Aborted By Host")

/* What Identify returns. The text says for which structure. */
/*        CNS     name                              text */
#define NVME_IDENTIFY_CNS(X) \
	X(0x00, NS,                            "namespace, NVM command set") \
	X(0x01, CTRL,                          "controller") \
	X(0x02, NS_ACTIVE_LIST,                "active namespace list") \
	X(0x03, NS_DESC_LIST,                  "namespace identification descriptors") \
	X(0x04, NVMSET_LIST,                   "NVM set list") \
	X(0x05, CSI_NS,                        "namespace, by command set") \
	X(0x06, CSI_CTRL,                      "controller, by command set") \
	X(0x07, CSI_NS_ACTIVE_LIST,            "active namespace list, by command set") \
	X(0x08, CSI_INDEPENDENT_ID_NS,         "namespace, independent of command set") \
	X(0x10, ALLOCATED_NS_LIST,             "allocated namespace list") \
	X(0x11, ALLOCATED_NS,                  "allocated namespace") \
	X(0x12, NS_CTRL_LIST,                  "controllers attached to a namespace") \
	X(0x13, CTRL_LIST,                     "controllers of the subsystem") \
	X(0x14, PRIMARY_CTRL_CAP,              "primary controller capabilities") \
	X(0x15, SECONDARY_CTRL_LIST,           "secondary controllers") \
	X(0x16, NS_GRANULARITY,                "namespace granularity list") \
	X(0x17, UUID_LIST,                     "UUID list") \
	X(0x18, DOMAIN_LIST,                   "domain list") \
	X(0x19, ENDURANCE_GROUP_ID,            "endurance group list") \
	X(0x1a, CSI_ALLOCATED_NS_LIST,         "allocated namespace list, by command set") \
	X(0x1b, CSI_ID_NS_DATA_STRUCTURE,      "allocated namespace, by command set") \
	X(0x1c, COMMAND_SET_STRUCTURE,         "command set combinations")

/*        log     name                              text */
#define NVME_LOG_PAGES(X) \
	X(0x00, SUPPORTED_LOG_PAGES,           "Supported Log Pages") \
	X(0x01, ERROR,                         "Error Information") \
	X(0x02, SMART,                         "SMART / Health Information") \
	X(0x03, FW_SLOT,                       "Firmware Slot Information") \
	X(0x04, CHANGED_NS,                    "Changed Attached Namespace List") \
	X(0x05, CMD_EFFECTS,                   "Commands Supported and Effects") \
	X(0x06, DEVICE_SELF_TEST,              "Device Self-test") \
	X(0x07, TELEMETRY_HOST,                "Telemetry Host-Initiated") \
	X(0x08, TELEMETRY_CTRL,                "Telemetry Controller-Initiated") \
	X(0x09, ENDURANCE_GROUP,               "Endurance Group Information") \
	X(0x0a, PREDICTABLE_LAT_NVMSET,        "Predictable Latency Per NVM Set") \
	X(0x0b, PREDICTABLE_LAT_AGG,           "Predictable Latency Event Aggregate") \
	X(0x0c, ANA,                           "Asymmetric Namespace Access") \
	X(0x0d, PERSISTENT_EVENT,              "Persistent Event Log") \
	X(0x0e, LBA_STATUS,                    "LBA Status Information") \
	X(0x0f, ENDURANCE_GRP_EVT,             "Endurance Group Event Aggregate") \
	X(0x10, MEDIA_UNIT_STATUS,             "Media Unit Status") \
	X(0x11, SUPPORTED_CAP_CONFIG_LIST,     "Supported Capacity Configuration List") \
	X(0x12, FID_SUPPORTED_EFFECTS,         "Feature Identifiers Supported and Effects") \
	X(0x13, MI_CMD_SUPPORTED_EFFECTS,      "NVMe-MI Commands Supported and Effects") \
	X(0x15, BOOT_PARTITION,                "Boot Partition") \
	X(0x1e, CROSS_CTRL_RESET,              "Cross-Controller Reset") \
	X(0x70, DISCOVER,                      "Discovery") \
	X(0x80, RESERVATION,                   "Reservation Notification") \
	X(0x81, SANITIZE,                      "Sanitize Status")

/*        fid     name                              text */
#define NVME_FEATURES(X) \
	X(0x01, ARBITRATION,                   "Arbitration") \
	X(0x02, POWER_MGMT,                    "Power Management") \
	X(0x03, LBA_RANGE,                     "LBA Range Type") \
	X(0x04, TEMP_THRESH,                   "Temperature Threshold") \
	X(0x05, ERR_RECOVERY,                  "Error Recovery") \
	X(0x06, VOLATILE_WC,                   "Volatile Write Cache") \
	X(0x07, NUM_QUEUES,                    "Number of Queues") \
	X(0x08, IRQ_COALESCE,                  "Interrupt Coalescing") \
	X(0x09, IRQ_CONFIG,                    "Interrupt Vector Configuration") \
	X(0x0a, WRITE_ATOMIC,                  "Write Atomicity Normal") \
	X(0x0b, ASYNC_EVENT,                   "Asynchronous Event Configuration") \
	X(0x0c, AUTO_PST,                      "Autonomous Power State Transition") \
	X(0x0d, HOST_MEM_BUF,                  "Host Memory Buffer") \
	X(0x0e, TIMESTAMP,                     "Timestamp") \
	X(0x0f, KATO,                          "Keep Alive Timer") \
	X(0x10, HCTM,                          "Host Controlled Thermal Management") \
	X(0x11, NOPSC,                         "Non-Operational Power State Config") \
	X(0x12, RRL,                           "Read Recovery Level Config") \
	X(0x13, PLM_CONFIG,                    "Predictable Latency Mode Config") \
	X(0x14, PLM_WINDOW,                    "Predictable Latency Mode Window") \
	X(0x15, LBA_STS_INTERVAL,              "LBA Status Information Report Interval") \
	X(0x16, HOST_BEHAVIOR,                 "Host Behavior Support") \
	X(0x17, SANITIZE,                      "Sanitize Config") \
	X(0x18, ENDURANCE_EVT_CFG,             "Endurance Group Event Configuration") \
	X(0x19, IOCS_PROFILE,                  "I/O Command Set Profile") \
	X(0x1a, SPINUP_CONTROL,                "Spinup Control") \
	X(0x1d, FDP,                           "Flexible Data Placement") \
	X(0x1e, FDP_EVENTS,                    "Flexible Data Placement Events") \
	X(0x7d, ENH_CTRL_METADATA,             "Enhanced Controller Metadata") \
	X(0x7e, CTRL_METADATA,                 "Controller Metadata") \
	X(0x7f, NS_METADATA,                   "Namespace Metadata") \
	X(0x80, SW_PROGRESS,                   "Software Progress Marker") \
	X(0x81, HOST_ID,                       "Host Identifier") \
	X(0x82, RESV_MASK,                     "Reservation Notification Mask") \
	X(0x83, RESV_PERSIST,                  "Reservation Persistence") \
	X(0x84, WRITE_PROTECT,                 "Namespace Write Protection Config")

/* Result of an Asynchronous Event Request: type, information, and the log page that clears it. */
/*        type info  name                          log page */
#define NVME_ASYNC_EVENTS(X) \
	X(0, 0x00, ERROR_INVALID_DB_REG,             ERROR) \
	X(0, 0x01, ERROR_INVALID_DB_VAL,             ERROR) \
	X(0, 0x02, ERROR_DIAG_FAILURE,               ERROR) \
	X(0, 0x03, ERROR_PERSISTENT_INTERNAL_ERROR,  ERROR) \
	X(0, 0x04, ERROR_TRANSIENT_INTERNAL_ERROR,   ERROR) \
	X(0, 0x05, ERROR_FW_IMAGE_LOAD_ERROR,        ERROR) \
	X(1, 0x00, SMART_SUBSYSTEM_RELIABILITY,      SMART) \
	X(1, 0x01, SMART_TEMPERATURE_THRESHOLD,      SMART) \
	X(1, 0x02, SMART_SPARE_THRESHOLD,            SMART) \
	X(2, 0x00, NOTICE_NS_CHANGED,                CHANGED_NS) \
	X(2, 0x01, NOTICE_FW_ACT_STARTING,           FW_SLOT) \
	X(2, 0x02, NOTICE_TELEMETRY,                 TELEMETRY_CTRL) \
	X(2, 0x03, NOTICE_ANA,                       ANA) \
	X(2, 0x04, NOTICE_PL_EVENT,                  PREDICTABLE_LAT_AGG) \
	X(2, 0x05, NOTICE_LBA_STATUS_ALERT,          LBA_STATUS) \
	X(2, 0x06, NOTICE_EG_EVENT,                  ENDURANCE_GRP_EVT) \
	X(2, 0xf0, NOTICE_DISC_CHANGED,              DISCOVER) \
	X(2, 0xf4, NOTICE_CCR_COMPLETED,             CROSS_CTRL_RESET) \
	X(6, 0x00, CSS_NVM_RESERVATION,              RESERVATION) \
	X(6, 0x01, CSS_NVM_SANITIZE_COMPLETED,       SANITIZE)

/* Properties: a controller's registers, and what fabrics' property commands reach. */
/*        offset  name   bytes */
#define NVME_PROPERTIES(X) \
	X(0x00, CAP,   8) \
	X(0x08, VS,    4) \
	X(0x0c, INTMS, 4) \
	X(0x10, INTMC, 4) \
	X(0x14, CC,    4) \
	X(0x1c, CSTS,  4) \
	X(0x20, NSSR,  4) \
	X(0x24, AQA,   4) \
	X(0x28, ASQ,   8) \
	X(0x30, ACQ,   8) \
	X(0x68, CRTO,  4)

#endif
