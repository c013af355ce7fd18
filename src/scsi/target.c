/* SPDX-License-Identifier: BSD-3-Clause */
/* target.c: devices: their ports, and their LUN maps as versions. Control reactor, but for what says otherwise.
 *
 * A change copies the map that was published last, edits the copy and publishes it at once; nothing waits between copy
 * and publication, so that changes need no turns. What takes time comes before (a LUN's channels are opened on
 * every core) or after it (hosts are told; tasks of what was removed end).
 */
#include "core/log.h"
#include "scsi/scsi_priv.h"

static void map_enter(struct version *v, uint32_t core_index);
static void map_leave(struct version *v, uint32_t core_index);
static void map_free(struct version *v);

/* --- maps -- */

static void *copy_of(const void *p, size_t size)
{
	void *copy = size ? base_zalloc(size) : NULL;

	if (size)
		memcpy(copy, p, size);
	return copy;
}

static struct scsi_map *map_make(struct scsi_target *t)
{
	struct scsi_map *map = base_zalloc_aligned(CACHE_LINE, sizeof(*map));

	map->target = t;
	return map;
}

struct scsi_map *scsi_map_copy(const struct scsi_target *t)
{
	const struct scsi_map *from = t->map;
	struct scsi_map *map = map_make(from->target);

	map->port_count = from->port_count;
	map->group_count = from->group_count;
	map->ports = copy_of(from->ports, from->port_count * sizeof(*from->ports));
	map->groups = copy_of(from->groups, from->group_count * sizeof(*from->groups));
	memcpy(map->luns, from->luns, sizeof(map->luns));
	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++)
		if (map->luns[i].lu)
			bdev_served_ref(&map->luns[i].lu->dev);
	return map;
}

static void map_drop(struct scsi_map *map)
{
	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++)
		if (map->luns[i].lu)
			bdev_served_unref(&map->luns[i].lu->dev);
	free(map->ports);
	free(map->groups);
	free(map);
}

void scsi_map_publish(struct scsi_map *map, struct version_publish *p, void (*done)(struct version_publish *p))
{
	struct scsi_target *t = map->target;

	map->alua_limited = false;
	for (uint32_t i = 0; i < map->group_count; i++)
		map->alua_limited |= map->groups[i].state > SCSI_ALUA_NONOPTIMIZED;
	t->map = map;
	t->busy++;
	version_publish(&t->slot, p, &map->v, done);
}

static void map_free(struct version *v)
{
	struct scsi_target *t = container_of(v, struct scsi_map, v)->target;

	map_drop(container_of(v, struct scsi_map, v));
	scsi_target_less(t);
}

/* Who publishes and does not wait. */
static void freely_published(struct version_publish *p)
{
	free(p);
}

static void publish_freely(struct scsi_map *map)
{
	scsi_map_publish(map, base_zalloc(sizeof(struct version_publish)), freely_published);
}

/* Each core: those the version names are counted before those of the old one are not any more. */
static void map_enter(struct version *v, uint32_t core_index)
{
	struct scsi_map *map = container_of(v, struct scsi_map, v);
	struct err e = { 0 };

	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++)
		if (map->luns[i].lu && !bdev_view_enter(&map->luns[i].lu->dev.view[core_index], &e))
			log_error("LUN %u of %s does not work on core %u: %s", i, map->target->name, core_index, e.text);
	list_add_tail(&map->target->scsi->cores[core_index].maps, &map->here[core_index]);
}

static void map_leave(struct version *v, uint32_t core_index)
{
	struct scsi_map *map = container_of(v, struct scsi_map, v);

	list_del(&map->here[core_index]);
	for (uint32_t i = 0; i < SCSI_LUNS_MAX; i++)
		if (map->luns[i].lu)
			bdev_view_put(&map->luns[i].lu->dev.view[core_index]);
}

/* --- devices -- */

struct scsi_target *scsi_target_find(const struct scsi *s, const char *name)
{
	list_each(l, &s->targets) {
		struct scsi_target *t = list_entry(l, struct scsi_target, link);

		if (!strcmp(t->name, name))
			return t;
	}
	return NULL;
}

struct scsi_target *scsi_target_make(struct scsi *s, const struct scsi_target_opts *opts, struct err *e)
{
	struct scsi_target *t;

	if (!opts->name || !opts->name[0] || strlen(opts->name) > SCSI_NAME_MAX) {
		err_set(e, -EINVAL, "name: a SCSI device name has 1 to %u bytes", SCSI_NAME_MAX);
		return NULL;
	}
	if (scsi_target_find(s, opts->name)) {
		err_set(e, -EEXIST, "name: there is a SCSI device '%s' already", opts->name);
		return NULL;
	}
	t = base_zalloc(sizeof(*t));
	t->scsi = s;
	t->protocol = opts->protocol;
	t->lun_gone = opts->lun_gone;
	t->lun_gone_arg = opts->lun_gone_arg;
	text_pad(t->name, sizeof(t->name) - 1, opts->name, 0);
	list_init(&t->seats);
	list_init(&t->sweeps);
	list_add_tail(&s->targets, &t->link);
	version_slot_init(&t->slot, s->core);
	t->slot.enter = map_enter;
	t->slot.leave = map_leave;
	t->slot.free = map_free;
	t->nothing = map_make(t);
	publish_freely(map_make(t));
	return t;
}

void scsi_target_less(struct scsi_target *t)
{
	assert(t->busy > 0);
	t->busy--;
	scsi_target_go_on(t);
}

/* A device that goes: its nexuses first, then its LUNs, then itself. */
void scsi_target_free(struct scsi_target *t, struct scsi_change *c)
{
	assert(!t->dying);
	c->err = (struct err){ 0 };
	t->dying = true;
	t->freeing = c;
	list_each_safe(l, &t->seats)
		scsi_seat_disconnect(list_entry(l, struct scsi_seat, link));
	scsi_target_go_on(t);
}

static void free_target(struct msg *m)
{
	struct scsi_target *t = container_of(m, struct scsi_target, free_msg);
	struct scsi_change *c = t->freeing;

	list_del(&t->link);
	free(t->nothing);
	free(t);
	c->done(c);
}

static void emptied(struct version_publish *p)
{
	struct scsi_target *t = container_of(p, struct scsi_target, last);

	scsi_target_less(t);
}

/* Works and nexuses first, then the map; by message, because who counts down is in the middle of something. */
void scsi_target_go_on(struct scsi_target *t)
{
	if (!t->dying || t->works || t->seat_count || t->sweeping)
		return;
	if (t->map) {
		t->map = NULL;
		t->busy++;
		version_publish(&t->slot, &t->last, NULL, emptied);
		return;
	}
	if (!t->busy && !t->free_sent) {
		t->free_sent = true;
		msg_send(core_control(t->scsi->core), &t->free_msg, free_target);
	}
}

/* --- ports -- */

const struct scsi_port *scsi_map_port(const struct scsi_map *map, uint16_t id)
{
	for (uint32_t i = 0; i < map->port_count; i++)
		if (map->ports[i].id == id)
			return &map->ports[i];
	return NULL;
}

static int group_at(const struct scsi_map *map, uint16_t id)
{
	for (uint32_t i = 0; i < map->group_count; i++)
		if (map->groups[i].id == id)
			return (int)i;
	return -1;
}

static void *insert(void *array, uint32_t *count, uint32_t at, size_t size)
{
	char *grown = realloc(array, (*count + 1) * size);

	must(grown != NULL);
	memmove(grown + (at + 1) * size, grown + at * size, (*count - at) * size);
	memset(grown + at * size, 0, size);
	++*count;
	return grown;
}

static void add_group(struct scsi_map *map, uint16_t id)
{
	uint32_t at = 0;

	if (group_at(map, id) >= 0)
		return;
	while (at < map->group_count && map->groups[at].id < id)
		at++;
	map->groups = insert(map->groups, &map->group_count, at, sizeof(*map->groups));
	map->groups[at].id = id;
}

int scsi_target_add_port(struct scsi_target *t, const struct scsi_port_opts *opts, struct err *e)
{
	uint16_t group = opts->group ? opts->group : opts->id;
	struct scsi_map *map;
	uint32_t at = 0;

	if (!opts->id || strlen(opts->name) > SCSI_PORT_NAME_MAX)
		return err_set(e, -EINVAL, "a target port has an id from 1 to 65535, and a name of up to %u bytes",
		               SCSI_PORT_NAME_MAX);
	if (t->dying)
		return err_set(e, -ENODEV, "SCSI device '%s' is being removed", t->name);
	if (scsi_map_port(t->map, opts->id))
		return err_set(e, -EEXIST, "SCSI device '%s' has a port %u already", t->name, opts->id);
	if (t->map->port_count >= SCSI_PORTS_MAX)
		return err_set(e, -ENOSPC, "SCSI device '%s' has as many as %u ports already", t->name, SCSI_PORTS_MAX);
	map = scsi_map_copy(t);
	while (at < map->port_count && map->ports[at].id < opts->id)
		at++;
	map->ports = insert(map->ports, &map->port_count, at, sizeof(*map->ports));
	map->ports[at].id = opts->id;
	map->ports[at].group = group;
	text_pad(map->ports[at].name, SCSI_PORT_NAME_MAX, opts->name, 0);
	add_group(map, group);
	publish_freely(map);
	return 0;
}

static void remove_empty_groups(struct scsi_map *map)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < map->group_count; i++) {
		bool used = false;

		for (uint32_t p = 0; p < map->port_count; p++)
			used |= map->ports[p].group == map->groups[i].id;
		if (used)
			map->groups[kept++] = map->groups[i];
	}
	map->group_count = kept;
}

int scsi_target_remove_port(struct scsi_target *t, uint16_t id, struct err *e)
{
	struct scsi_map *map;
	const struct scsi_port *port = t->map ? scsi_map_port(t->map, id) : NULL;
	uint32_t at;

	if (!port)
		return err_set(e, -ENOENT, "SCSI device '%s' has no port %u", t->name, id);
	at = (uint32_t)(port - t->map->ports);
	map = scsi_map_copy(t);
	map->port_count--;
	memmove(&map->ports[at], &map->ports[at + 1], (map->port_count - at) * sizeof(*map->ports));
	remove_empty_groups(map);
	publish_freely(map);
	return 0;
}

/* --- works: changes that take time -- */

struct scsi_change_work {
	struct seq seq;
	struct scsi_change *change;
	struct scsi_target *target;
	struct scsi_lu *lu;               /* counted */
	uint32_t lun;
	struct scsi_lun_opts opts;
	struct scsi_map *next;
	struct version_publish publish;
	struct bdev_served_wait wait;
	struct scsi_tell tell;
	const struct scsi_seat *asker;    /* a command of this nexus wants it; it waits for the answer, and stays */
	bool reserved;
	struct scsi_change own;           /* for what nobody asked for */
	struct msg fail_msg;
};

static struct scsi_change_work *work_of(struct seq *s)
{
	return container_of(s, struct scsi_change_work, seq);
}

static void work_end(struct scsi_change_work *w)
{
	struct scsi_target *t = w->target;
	struct scsi_change *c = w->change;

	c->err = w->seq.err;
	c->ret_lun = w->lun;
	c->work = NULL;
	if (w->reserved)
		t->opening[w->lun] = false;
	if (w->lu)
		bdev_served_unref(&w->lu->dev);
	t->works--;
	scsi_target_go_on(t);
	if (c != &w->own)
		c->done(c);
	free(w);
}

static void work_done(struct seq *s)
{
	work_end(work_of(s));
}

static void work_failed(struct msg *m)
{
	work_end(container_of(m, struct scsi_change_work, fail_msg));
}

static struct scsi_change_work *work_make(struct scsi_target *t, struct scsi_change *c)
{
	struct scsi_change_work *w = base_zalloc(sizeof(*w));

	assert(reactor_is_control(reactor_self()));
	w->change = c ? c : &w->own;
	w->target = t;
	w->change->err = (struct err){ 0 };
	w->change->work = w;
	t->works++;
	return w;
}

/* Later, so that `done` never runs inside of the call that asked for the change. */
static void work_fail(struct scsi_change_work *w)
{
	msg_send(reactor_self(), &w->fail_msg, work_failed);
}

static void every_core_done(void *seq)
{
	seq_resume(seq, 0);
}

static void published(struct version_publish *p)
{
	seq_resume(&container_of(p, struct scsi_change_work, publish)->seq, 0);
}

static void told(struct scsi_tell *tell)
{
	seq_resume(&container_of(tell, struct scsi_change_work, tell)->seq, 0);
}

static enum seq_result step_publish(struct seq *s)
{
	struct scsi_change_work *w = work_of(s);
	struct scsi_map *map = w->next;

	w->next = NULL;
	scsi_map_publish(map, &w->publish, published);
	return SEQ_WAIT;
}

static enum seq_result tell_all(struct seq *s, uint32_t lun, uint16_t asc_ascq)
{
	struct scsi_change_work *w = work_of(s);

	w->tell = (struct scsi_tell){ .target = w->target, .lun = lun, .asc_ascq = asc_ascq,
		.except = w->asker, .done = told };
	scsi_tell(&w->tell);
	return SEQ_WAIT;
}

static enum seq_result step_tell_luns(struct seq *s)
{
	return tell_all(s, UINT32_MAX, SCSI_ASC_REPORTED_LUNS_CHANGED);
}

/* --- adding a LUN -- */

static enum seq_result step_open_channels(struct seq *s)
{
	bdev_served_enter_all(&work_of(s)->lu->dev, every_core_done, s);
	return SEQ_WAIT;
}

static enum seq_result step_let_go_channels(struct seq *s)
{
	bdev_served_leave_all(&work_of(s)->lu->dev, every_core_done, s);
	return SEQ_WAIT;
}

static int check_still_there(const struct scsi_change_work *w, struct err *e)
{
	if (w->target->dying)
		return err_set(e, -ENODEV, "SCSI device '%s' went away meanwhile", w->target->name);
	if (w->lu->dev.gone_told)
		return err_set(e, -ENODEV, "bdev_name: device '%s' went away meanwhile", w->lu->dev.bdev_name);
	return 0;
}

static enum seq_result step_build_with_lun(struct seq *s)
{
	struct scsi_change_work *w = work_of(s);
	struct scsi_target *t = w->target;

	if (bdev_served_check(&w->lu->dev, &s->err) || check_still_there(w, &s->err))
		return SEQ_FAILED;
	w->next = scsi_map_copy(t);
	w->next->luns[w->lun].lu = w->lu;
	w->next->luns[w->lun].state = scsi_lu_state_default(w->lu);
	bdev_served_ref(&w->lu->dev);
	return SEQ_NEXT;
}

static const struct seq_step add_steps[] = {
	{ "open channels",        step_open_channels,   step_let_go_channels },
	{ "add it to the map",    step_build_with_lun,  NULL },
	{ "publish",              step_publish,         NULL },
	{ "tell hosts",           step_tell_luns,       NULL },
	{ "let go of channels",   step_let_go_channels, NULL },
};

/* A device that went after the LUN was on the map has taken it off again: who added it must not believe in it. */
static void add_done(struct seq *s)
{
	struct scsi_change_work *w = work_of(s);

	if (!s->err.code)
		check_still_there(w, &s->err);
	work_end(w);
}

static bool lun_is_taken(const struct scsi_target *t, uint32_t lun)
{
	return t->opening[lun] || (t->map && t->map->luns[lun].lu);
}

static int choose_lun(struct scsi_change_work *w, struct err *e)
{
	const struct scsi_target *t = w->target;

	if (t->dying)
		return err_set(e, -ENODEV, "SCSI device '%s' is being removed", t->name);
	for (w->lun = 0; w->opts.lun == UINT32_MAX && w->lun < SCSI_LUNS_MAX; w->lun++)
		if (!lun_is_taken(t, w->lun))
			return 0;
	if (w->opts.lun == UINT32_MAX)
		return err_set(e, -ENOSPC, "SCSI device '%s' has as many as %u LUNs already", t->name, SCSI_LUNS_MAX);
	w->lun = w->opts.lun;
	if (w->lun >= SCSI_LUNS_MAX)
		return err_set(e, -EINVAL, "lun: %u is beyond %u", w->lun, SCSI_LUNS_MAX - 1);
	if (lun_is_taken(t, w->lun))
		return err_set(e, -EEXIST, "lun: %u of '%s' is in use", w->lun, t->name);
	return 0;
}

void scsi_target_add_lun(struct scsi_target *t, const struct scsi_lun_opts *opts, struct scsi_change *c)
{
	struct scsi_change_work *w = work_make(t, c);

	w->opts = *opts;
	if (choose_lun(w, &w->seq.err) == 0)
		w->lu = scsi_lu_open(t, w->lun, opts, &w->seq.err);
	if (!w->lu) {
		work_fail(w);
		return;
	}
	t->opening[w->lun] = w->reserved = true;
	seq_start(&w->seq, "add a LUN", add_steps, ARRAY_SIZE(add_steps), add_done);
}

/* --- removing one -- */

/* Who keeps the configuration hears of it in the moment in which the LUN is no more on the map. */
static void say_gone(const struct scsi_change_work *w)
{
	const struct scsi_target *t = w->target;
	const struct scsi *s = t->scsi;
	struct scsi_lun_gone g = { .lun = w->lun, .bdev_name = w->lu->dev.bdev_name, .uuid = w->lu->dev.info.uuid,
		.read_only = w->lu->dev.made_read_only, .returns = bdev_returns(w->lu->dev.desc) };

	if (t->dying)
		return;
	if (t->lun_gone)
		t->lun_gone(t->lun_gone_arg, w->target, &g);
	else if (s->lun_gone)
		s->lun_gone(s->lun_gone_arg, w->target, &g);
}

static enum seq_result step_publish_without_lun(struct seq *s)
{
	struct scsi_change_work *w = work_of(s);
	struct scsi_map *map = scsi_map_copy(w->target);

	bdev_served_unref(&map->luns[w->lun].lu->dev);
	map->luns[w->lun].lu = NULL;
	scsi_map_publish(map, &w->publish, published);
	if (w->change == &w->own)
		say_gone(w);
	return SEQ_WAIT;
}

static void lu_closed(struct bdev_served_wait *wait)
{
	seq_resume(&container_of(wait, struct scsi_change_work, wait)->seq, 0);
}

static enum seq_result step_wait_closed(struct seq *s)
{
	struct scsi_change_work *w = work_of(s);

	bdev_served_wait_closed(&w->lu->dev, &w->wait, lu_closed);
	return SEQ_WAIT;
}

static const struct seq_step remove_steps[] = {
	{ "take it off the map",  step_publish_without_lun, NULL },
	{ "tell hosts",           step_tell_luns,           NULL },
	{ "wait for its tasks",   step_wait_closed,         NULL },
};

static void remove_start(struct scsi_change_work *w, uint32_t lun)
{
	w->lun = lun;
	w->lu = w->target->map->luns[lun].lu;
	bdev_served_ref(&w->lu->dev);
	seq_start(&w->seq, "remove a LUN", remove_steps, ARRAY_SIZE(remove_steps), work_done);
}

void scsi_target_remove_lun(struct scsi_target *t, uint32_t lun, struct scsi_change *c)
{
	struct scsi_change_work *w = work_make(t, c);

	if (lun < SCSI_LUNS_MAX && t->map && t->map->luns[lun].lu) {
		remove_start(w, lun);
		return;
	}
	w->lun = lun;
	err_set(&w->seq.err, -ENOENT, "lun: '%s' has no LUN %u", t->name, lun);
	work_fail(w);
}

/* --- what devices tell -- */

static enum seq_result step_tell_capacity(struct seq *s)
{
	return tell_all(s, work_of(s)->lun, SCSI_ASC_CAPACITY_CHANGED);
}

static const struct seq_step resize_steps[] = {
	{ "tell hosts", step_tell_capacity, NULL },
};

void scsi_lu_device_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	struct scsi_lu *lu = container_of((struct bdev_served *)arg, struct scsi_lu, dev);
	struct scsi_target *t = lu->target;
	bool shown = t->map && t->map->luns[lu->lun].lu == lu;
	struct scsi_change_work *w;

	if (event == BDEV_EVENT_REMOVE && !lu->dev.gone_told) {
		lu->dev.gone_told = true;
		if (shown)
			remove_start(work_make(t, NULL), lu->lun);
	} else if (event == BDEV_EVENT_RESIZE && shown) {
		w = work_make(t, NULL);
		w->lun = lu->lun;
		seq_start(&w->seq, "tell a LUN's new size", resize_steps, ARRAY_SIZE(resize_steps), work_done);
	}
}

void scsi_on_lun_gone(struct scsi *s, scsi_lun_gone_fn *fn, void *arg)
{
	s->lun_gone = fn;
	s->lun_gone_arg = arg;
}

bool scsi_target_lun(const struct scsi_target *t, uint32_t lun, struct scsi_lun_info *ret_info)
{
	const struct scsi_map_lun *at = t->map && lun < SCSI_LUNS_MAX ? &t->map->luns[lun] : NULL;

	if (!at || !at->lu)
		return false;
	*ret_info = (struct scsi_lun_info){ .lun = lun, .bdev_name = at->lu->dev.bdev_name,
		.read_only = at->lu->dev.made_read_only, .gone = at->lu->dev.gone_told,
		.lost = bdev_served_lost(&at->lu->dev), .swp = at->state.swp,
		.stopped = at->state.stopped, .uncached = at->lu->dev.info.cache == BDEV_CACHE_VOLATILE && !at->state.wce };
	return true;
}

/* --- asymmetric access -- */

static enum seq_result step_tell_alua(struct seq *s)
{
	return tell_all(s, UINT32_MAX, SCSI_ASC_ALUA_CHANGED);
}

static const struct seq_step alua_steps[] = {
	{ "publish",    step_publish,   NULL },
	{ "tell hosts", step_tell_alua, NULL },
};

static bool is_alua(uint8_t state)
{
	return state <= SCSI_ALUA_UNAVAILABLE || state == SCSI_ALUA_OFFLINE || state == SCSI_ALUA_TRANSITIONING;
}

static void set_alua(struct scsi_target *t, uint16_t group, uint8_t state, const struct scsi_seat *by,
                     struct scsi_change *c)
{
	struct scsi_change_work *w = work_make(t, c);
	int at = t->map && !t->dying ? group_at(t->map, group) : -1;

	if (at < 0 || !is_alua(state)) {
		if (at < 0)
			err_set(&w->seq.err, -ENOENT, "'%s' has no target port group %u", t->name, group);
		else
			err_set(&w->seq.err, -EINVAL, "%u is no asymmetric access state", state);
		work_fail(w);
		return;
	}
	if (t->map->groups[at].state == state) { /* it is so: nobody has to hear of it */
		work_fail(w);
		return;
	}
	w->asker = by;
	w->next = scsi_map_copy(t);
	w->next->groups[at].state = state;
	w->next->groups[at].status = by ? 1 : 2; /* by SET TARGET PORT GROUPS; by the device itself */
	seq_start(&w->seq, "change an access state", alua_steps, ARRAY_SIZE(alua_steps), work_done);
}

void scsi_target_set_alua(struct scsi_target *t, uint16_t group, uint8_t state, struct scsi_change *c)
{
	set_alua(t, group, state, NULL, c);
}

void scsi_target_set_alua_by(const struct scsi_seat *by, uint16_t group, uint8_t state, struct scsi_change *c)
{
	set_alua(by->target, group, state, by, c);
}

uint8_t scsi_target_alua(const struct scsi_target *t, uint16_t group)
{
	int at = t->map ? group_at(t->map, group) : -1;

	return at < 0 ? SCSI_ALUA_UNAVAILABLE : t->map->groups[at].state;
}
