/* SPDX-License-Identifier: BSD-3-Clause */
/* remote_firmware_rpc.c: bdev_nvme_apply_firmware: an image from a file, by way of one of a disk's controllers, and the
 * resets after which it runs: one path after the other, so that I/O goes by those that are not being reset. A path that
 * does not come back ends that; what is committed stays committed.
 */
#include "backends/remote/remote_rpc_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_BYTES_MAX (64 * MIB)

struct apply {
	char *bdev_name, *filename, *action;
	uint8_t slot;
};

static const char *const actions[] = {
	[NVME_FW_REPLACE] = "replace", [NVME_FW_REPLACE_AND_ENABLE] = "replace_and_enable", [NVME_FW_ENABLE] = "enable",
	[NVME_FW_REPLACE_AND_RUN] = "replace_and_run", NULL,
};

struct update {
	struct list link;               /* in rr->updates */
	struct remote_rpc *rr;
	struct rpc_call *call;          /* NULL: it was answered, as the daemon stops */
	struct job job;
	char *filename;
	char group[128];                /* by name and number: it may go meanwhile, and another one have its name */
	uint64_t group_number;
	struct nvme_firmware firmware;
	void *image;
	char before[9];                 /* the revision */
	struct nvme_revision_read revision;
	struct timer deadline;          /* of its answer */
	bool resetting, running, silent; /* running: it does, without a reset; silent: it did not say what */
	uint32_t path, next;            /* which took it; which is to be reset next */
	uint32_t resets;
	struct remote_path_wait reset;
	struct defer more;
	struct err err;
};

static void read_in_job(struct job *j);
static void was_read(struct job *j);
static void was_committed(struct nvme_firmware *f);
static void reset_next(struct update *u);
static void look_what_runs(struct update *u);
static void looked(struct nvme_revision_read *r);
static void is_silent(struct timer *t);

/* --- the beginning ----------------------------------------------------------------------------------------------- */

static void refuse(struct update *u, const struct err *e)
{
	struct rpc_call *call = u->call;

	log_warning("%s: firmware: %s", u->group, e->text);
	list_del(&u->link);
	u->call = NULL;
	rpc_reply_err(call, e);
}

static void forget(struct update *u)
{
	free(u->filename);
	free(u->image);
	free(u->revision.page);
	free(u);
}

/* It answers, and is over. */
static void end(struct update *u, struct json_object *result)
{
	if (u->err.code) {
		refuse(u, &u->err);
	} else {
		list_del(&u->link);
		rpc_reply(u->call, result);
	}
	forget(u);
}

/* NULL: it went. */
static struct remote_group *group_of(const struct update *u)
{
	struct remote_group *g = remote_group_find(u->rr->remote, u->group);

	return g && g->number == u->group_number ? g : NULL;
}

static struct update *find_update(const struct remote_rpc *rr, const struct remote_group *g)
{
	list_each(l, &rr->updates)
		if (list_entry(l, struct update, link)->group_number == g->number)
			return list_entry(l, struct update, link);
	return NULL;
}

/* A path whose controller is there; NULL, with a sentence: none, or its controller will not. */
static struct remote_path *willing_path(struct update *u)
{
	struct remote_group *g = group_of(u);

	for (uint32_t i = 0; g && i < REMOTE_PATHS_MAX; i++) {
		if (!g->paths[i] || g->paths[i]->state != REMOTE_PATH_UP)
			continue;
		u->path = i;
		return nvme_firmware_check(nvme_ctrlr_info(g->paths[i]->ctrlr), &u->firmware, &u->err) ? NULL : g->paths[i];
	}
	err_set(&u->err, -ENOTCONN, "%s is not connected; bdev_nvme_get_controllers says why", u->group);
	return NULL;
}

static void send_it(struct update *u)
{
	struct remote_path *p = willing_path(u);
	char text[512];

	if (!p) {
		end(u, NULL);
		return;
	}
	memcpy(u->before, nvme_ctrlr_info(p->ctrlr)->firmware, sizeof(u->before));
	u->firmware.done = was_committed;
	if (u->firmware.len)
		log_notice("%s: firmware: %s, %u bytes, goes to its controller", remote_path_text(p, text), u->filename,
		           u->firmware.len);
	nvme_ctrlr_update_firmware(p->ctrlr, &u->firmware);
}

static int check_args(const struct apply *a, uint8_t action, struct err *e)
{
	if (action == NVME_FW_ENABLE && a->filename)
		return err_set(e, ERR_BAD_PARAM, "filename: action=enable enables what a slot has, and takes no image");
	if (action != NVME_FW_ENABLE && !a->filename)
		return err_set(e, ERR_BAD_PARAM, "filename: is missing: which image?");
	return 0;
}

static void handle_apply(struct rpc_call *call, void *args)
{
	const struct apply *a = args;
	struct remote_disk *d = remote_rpc_disk(call, "bdev_name", a->bdev_name);
	struct update *u;

	if (!d)
		return;
	u = base_zalloc(sizeof(*u));
	u->rr = rpc_ctx(call);
	u->call = call;
	u->filename = a->filename ? base_strdup(a->filename) : NULL;
	u->firmware.slot = a->slot;
	while (strcmp(actions[u->firmware.action], a->action))
		u->firmware.action++;
	if (find_update(u->rr, d->group))
		err_set(&u->err, -EBUSY, "%s is being given firmware already", d->group->name);
	snprintf(u->group, sizeof(u->group), "%s", d->group->name);
	u->group_number = d->group->number;
	list_add_tail(&u->rr->updates, &u->link);
	if (u->err.code || check_args(a, u->firmware.action, &u->err) != 0 || !willing_path(u))
		end(u, NULL);
	else if (u->firmware.action == NVME_FW_ENABLE)
		send_it(u);
	else
		job_start(&u->job, read_in_job, was_read);
}

/* --- the image --------------------------------------------------------------------------------------------------- */

static int read_all(struct update *u, int fd, const char *name)
{
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) != 0)
		return err_set(&u->err, -errno, "filename: %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return err_set(&u->err, -EINVAL, "filename: %s is not a regular file", name);
	if (!st.st_size || st.st_size % 4 || st.st_size > (off_t)IMAGE_BYTES_MAX)
		return err_set(&u->err, -EINVAL, "filename: %s has %lld bytes; an image has a multiple of 4, and at most %llu",
		               name, (long long)st.st_size, (unsigned long long)IMAGE_BYTES_MAX);
	u->image = base_zalloc((size_t)st.st_size);
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, (uint8_t *)u->image + got, (size_t)st.st_size - got);

		if (n <= 0)
			return err_set(&u->err, n ? -errno : -EIO, "filename: %s cannot be read: %s", name,
			               n ? strerror(errno) : "it became shorter meanwhile");
		got += (size_t)n;
	}
	u->firmware.image = u->image;
	u->firmware.len = (uint32_t)got;
	return 0;
}

/* In a job: it may be on a server that does not answer. */
static void read_in_job(struct job *j)
{
	struct update *u = container_of(j, struct update, job);
	const char *name = u->filename;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		err_set(&u->err, -errno, "filename: %s cannot be opened: %s", name, strerror(errno));
	else if (read_all(u, fd, name) != 0)
		u->firmware.len = 0;
	if (fd >= 0)
		close(fd);
}

static void was_read(struct job *j)
{
	struct update *u = container_of(j, struct update, job);

	if (!u->call)
		forget(u);
	else if (u->err.code)
		end(u, NULL);
	else
		send_it(u);
}

/* --- and the end ------------------------------------------------------------------------------------------------- */

static void say(struct update *u)
{
	const struct remote_group *g = group_of(u);
	const struct remote_path *p = g ? g->paths[u->path] : NULL;
	const char *now = p && p->state == REMOTE_PATH_UP ? nvme_ctrlr_info(p->ctrlr)->firmware : "unknown";
	char text[320];

	if (u->resets)
		snprintf(text, sizeof(text), "firmware commit succeeded; controllers of %s were reset (%u), and run revision "
		         "'%s' (before: '%s')", u->group, u->resets, now, u->before);
	else if (u->silent)
		snprintf(text, sizeof(text), "firmware commit succeeded; the controller was asked what it runs, and did not "
		         "answer within %u s: its connection was ended (before: '%s')", REMOTE_LOOK_DEADLINE_S, u->before);
	else if (u->firmware.action == NVME_FW_REPLACE_AND_RUN)
		snprintf(text, sizeof(text), "firmware commit succeeded; the controller runs revision '%s', without a "
		         "reset (before: '%s')", now, u->before);
	else
		snprintf(text, sizeof(text), "firmware commit succeeded; nothing runs it before action=enable");
	log_notice("%s: %s", u->group, text);
	end(u, json_object_new_string(text));
}

static void was_committed(struct nvme_firmware *f)
{
	struct update *u = container_of(f, struct update, firmware);

	free(u->image);
	u->image = NULL;
	if (!u->call) {
		forget(u);
	} else if (f->err.code) {
		u->err = f->err;
		end(u, NULL);
	} else if (f->wants_reset) {
		u->resetting = true;
		reset_next(u);
	} else if (f->action == NVME_FW_REPLACE_AND_RUN) {
		u->running = true;
		look_what_runs(u);
	} else {
		say(u);
	}
}

/* Paths of one subsystem may share what was changed: each is looked at, this one before the answer. */
static void look_what_runs(struct update *u)
{
	struct remote_group *g = group_of(u);

	for (uint32_t i = 0; g && i < REMOTE_PATHS_MAX; i++)
		if (g->paths[i] && i != u->path)
			remote_path_fw_changed(g->paths[i]);
	if (!g || !g->paths[u->path] || g->paths[u->path]->state != REMOTE_PATH_UP) {
		say(u);
		return;
	}
	u->revision = (struct nvme_revision_read){ .page = base_zalloc(NVME_IDENTIFY_SIZE), .done = looked, .arg = u };
	timer_start(&u->deadline, REMOTE_LOOK_DEADLINE_S * NS_PER_S, is_silent);
	nvme_ctrlr_read_revision(g->paths[u->path]->ctrlr, &u->revision);
}

/* The end of the connection is that of the wait. */
static void is_silent(struct timer *t)
{
	struct update *u = container_of(t, struct update, deadline);
	struct remote_group *g = group_of(u);
	struct remote_path *p = g ? g->paths[u->path] : NULL;
	struct err e = { 0 };
	char text[512];

	if (!p)
		return;
	u->silent = true;
	err_set(&e, -ETIMEDOUT, "%s: was asked which firmware it runs, and did not answer within %u s",
	        remote_path_text(p, text), REMOTE_LOOK_DEADLINE_S);
	remote_path_trouble(p, NVME_REASON_ADMIN_TIMEOUT, &e);
}

static void looked(struct nvme_revision_read *r)
{
	struct update *u = r->arg;

	timer_stop(&u->deadline);
	if (u->call)
		say(u);
	else
		forget(u);
}

static void reset_more(struct defer *d)
{
	reset_next(container_of(d, struct update, more));
}

/* Not from within: whoever tells this is in the middle of something. */
static void was_reset(struct remote_path_wait *w, const struct err *e)
{
	struct update *u = container_of(w, struct update, reset);

	if (e)
		err_set(&u->err, e->code, "the firmware is committed, but after the reset %s", e->text);
	else
		u->resets++;
	defer_run(&u->more, reset_more);
}

static void reset_next(struct update *u)
{
	struct remote_group *g = group_of(u);

	while (!u->err.code && g && u->next < REMOTE_PATHS_MAX) {
		struct remote_path *p = g->paths[u->next++];

		if (!p || p->state != REMOTE_PATH_UP)
			continue;
		u->reset = (struct remote_path_wait){ .done = was_reset };
		remote_path_reset(p, &u->reset);
		return;
	}
	if (!u->err.code && !u->resets)
		err_set(&u->err, -ENOTCONN, "the firmware is committed, but %s was lost before it could be reset; "
		        "bdev_nvme_reset_controller does that when it is back", u->group);
	if (u->err.code)
		end(u, NULL);
	else
		say(u);
}

/* --- meanwhile ------------------------------------------------------------------------------------------------ */

void remote_json_firmware(const struct remote_rpc *rr, const struct remote_group *g, struct json_object *o)
{
	const struct update *u = find_update(rr, g);
	char text[96] = "the image is read"; /* by a helper; what it writes is not looked at before */

	if (!u)
		return;
	if (u->resetting)
		snprintf(text, sizeof(text), "is committed; controllers are reset");
	else if (u->running)
		snprintf(text, sizeof(text), "is committed; the controller is asked what it runs");
	else if (u->firmware.committing)
		snprintf(text, sizeof(text), "is being committed");
	else if (u->firmware.done)
		snprintf(text, sizeof(text), "%u of %u bytes are sent", u->firmware.sent, u->firmware.len);
	json_add_text(o, "firmware_update", text);
}

/* --- the daemon stops ------------------------------------------------------------------------------------------ */

/* A file may never be read, and a command never be answered: they come back when their connection ends. That may be
 * within the last answer: all is done before. */
static void drain(struct rpc_drain_hook *h)
{
	struct remote_rpc *rr = container_of(h, struct remote_rpc, updates_drain);

	list_each_safe(l, &rr->updates) {
		struct update *u = list_entry(l, struct update, link);
		bool resetting = u->resetting;
		struct err e = { 0 };

		err_set(&e, -ECANCELED, "the daemon stops; %s",
		        resetting ? "the firmware is committed, but its controllers are not all reset" :
		        u->running ? "the firmware is committed, and runs" :
		        u->firmware.committing ? "whether the image is committed nobody knows" : "nothing is committed");
		u->firmware.no_more = true;
		if (resetting) {
			remote_path_unwait(&u->reset);
			defer_cancel(&u->more);
		}
		refuse(u, &e);
		if (resetting)
			forget(u);
	}
}

/* --- all ------------------------------------------------------------------------------------------------------ */

static const struct rpc_param apply_params[] = {
	RPC_PARAM(struct apply, bdev_name, .required = true, .doc = "A disk of the controller."),
	RPC_PARAM(struct apply, filename, .doc = "The image, on the daemon's machine; not with action=enable."),
	RPC_PARAM(struct apply, action, .choices = actions, .fallback = "replace_and_enable",
	          .doc = "replace: into the slot, and no more; replace_and_enable: and reset, which makes it the one that "
	                 "runs; enable: what a slot has, and reset; replace_and_run: without a reset."),
	RPC_PARAM(struct apply, slot, .max = 7, .doc = "Firmware slot; 0: the controller chooses."),
};

static const struct rpc_method methods[] = {
	RPC_METHOD("bdev_nvme_apply_firmware", struct apply, apply_params, handle_apply, .flags = RPC_RUNTIME,
	           .doc = "Send a controller an image of its firmware, commit it, and reset all paths to the subsystem, "
	                  "one after the other. bdev_nvme_get_controllers tells how far it is.",
	           .returns = "a sentence: what runs now"),
};

void remote_firmware_rpc_add(struct remote_rpc *rr)
{
	list_init(&rr->updates);
	rr->updates_drain.fn = drain;
	rpc_on_drain(bdev_rpc_of(rr->br), &rr->updates_drain);
	rpc_add_methods(bdev_rpc_of(rr->br), methods, ARRAY_SIZE(methods), rr);
}
