/* SPDX-License-Identifier: BSD-3-Clause */
/* files.c: a directory in memory, and what is left of it after a crash. */
#include "core/sim/files.h"

#include <errno.h>

#define NODES_MAX 64
#define NAMES_MAX 8
#define SECTOR 512

/* One file, whatever its names: what is there now, and what would be after a power cut. */
struct node {
	char *bytes, *kept;
	size_t len, kept_len;
};

struct name {
	char text[32];
	int node; /* -1: no such name */
};

struct files_sim {
	struct files files;
	uint64_t dice, steps, cut;
	int fail;
	bool locked;
	struct node nodes[NODES_MAX];
	int node_count;
	struct name now[NAMES_MAX], kept[NAMES_MAX];
};

static struct files_sim *sim_of(struct files *f)
{
	return container_of(f, struct files_sim, files);
}

static uint64_t draw(struct files_sim *s, uint64_t n)
{
	s->dice ^= s->dice << 13;
	s->dice ^= s->dice >> 7;
	s->dice ^= s->dice << 17;
	return s->dice % n;
}

static void set(char **to, size_t *to_len, const char *bytes, size_t len)
{
	char *copy = base_zalloc(len + 1);

	if (len)
		memcpy(copy, bytes, len);
	free(*to);
	*to = copy;
	*to_len = len;
}

static struct name *find(struct name *names, const char *text)
{
	for (int i = 0; i < NAMES_MAX; i++)
		if (strcmp(names[i].text, text) == 0)
			return &names[i];
	return NULL;
}

static struct name *find_or_add(struct name *names, const char *text)
{
	struct name *n = find(names, text);

	for (int i = 0; !n && i < NAMES_MAX; i++) {
		if (names[i].text[0])
			continue;
		n = &names[i];
		must(strlen(text) < sizeof(n->text));
		memcpy(n->text, text, strlen(text) + 1);
		n->node = -1;
	}
	must(n);
	return n;
}

/* May this step be done? -EIO: everything has ended. 1: it is the last, and is done in part. */
static int step(struct files_sim *s)
{
	if (s->fail)
		return s->fail;
	if (s->steps > s->cut)
		return -EIO;
	return s->steps++ == s->cut;
}

static int sim_lock(struct files *f, const char *name, int64_t *ret_owner)
{
	struct files_sim *s = sim_of(f);

	*ret_owner = 1;
	if (s->locked)
		return -EWOULDBLOCK;
	s->locked = true;
	return 0;
}

static int sim_open(struct files *f, const char *name, bool make)
{
	struct files_sim *s = sim_of(f);
	struct name *n = find(s->now, name);
	int rc;

	if (n && n->node >= 0)
		return n->node;
	if (!make)
		return -ENOENT;
	rc = step(s);
	if (rc < 0)
		return rc;
	must(s->node_count < NODES_MAX);
	n = find_or_add(s->now, name);
	n->node = s->node_count++;
	return rc ? -EIO : n->node;
}

static int sim_read_all(struct files *f, int handle, char **ret_bytes, size_t *ret_len)
{
	struct node *n = &sim_of(f)->nodes[handle];

	*ret_bytes = NULL;
	set(ret_bytes, ret_len, n->bytes, n->len);
	return 0;
}

static void node_write(struct node *n, uint64_t at, const char *bytes, size_t len)
{
	size_t end = max_u64(n->len, at + len);
	char *now = base_zalloc(end + 1);

	if (n->len)
		memcpy(now, n->bytes, n->len);
	if (len)
		memcpy(now + at, bytes, len);
	free(n->bytes);
	n->bytes = now;
	n->len = end;
}

static int sim_write(struct files *f, int handle, uint64_t at, const char *bytes, size_t len)
{
	struct files_sim *s = sim_of(f);
	int rc = step(s);

	if (rc < 0)
		return rc;
	node_write(&s->nodes[handle], at, bytes, rc ? draw(s, len + 1) : len);
	return rc ? -EIO : 0;
}

static int sim_sync(struct files *f, int handle)
{
	struct files_sim *s = sim_of(f);
	struct node *n = &s->nodes[handle];
	int rc = step(s);

	if (rc == 0)
		set(&n->kept, &n->kept_len, n->bytes, n->len);
	return rc ? -EIO : 0;
}

static int sim_truncate(struct files *f, int handle, uint64_t len)
{
	struct files_sim *s = sim_of(f);
	struct node *n = &s->nodes[handle];
	int rc = step(s);

	if (rc == 0 && len < n->len)
		n->len = len;
	return rc ? -EIO : 0;
}

static void sim_close(struct files *f, int handle)
{
}

static int sim_rename(struct files *f, const char *from, const char *to)
{
	struct files_sim *s = sim_of(f);
	struct name *n = find(s->now, from);
	int rc = step(s);

	if (rc < 0)
		return rc;
	if (!n || n->node < 0)
		return -ENOENT;
	if (!rc || draw(s, 2)) { /* at the cut it was done, or it was not */
		find_or_add(s->now, to)->node = n->node;
		n = find(s->now, from);
		must(n); /* it was there a moment ago: for gcc, which follows both branches */
		n->node = -1;
	}
	return rc ? -EIO : 0;
}

static int sim_remove(struct files *f, const char *name)
{
	struct files_sim *s = sim_of(f);
	struct name *n = find(s->now, name);
	int rc = step(s);

	if (rc)
		return -EIO;
	if (!n || n->node < 0)
		return -ENOENT;
	n->node = -1;
	return 0;
}

static int sim_sync_names(struct files *f)
{
	struct files_sim *s = sim_of(f);
	int rc = step(s);

	if (rc == 0)
		memcpy(s->kept, s->now, sizeof(s->kept));
	return rc ? -EIO : 0;
}

static void sim_free(struct files *f)
{
	struct files_sim *s = sim_of(f);

	for (int i = 0; i < NODES_MAX; i++) {
		free(s->nodes[i].bytes);
		free(s->nodes[i].kept);
	}
	free(s);
}

static const struct files_ops sim_ops = {
	sim_lock, sim_open, sim_read_all, sim_write, sim_sync, sim_truncate, sim_close, sim_rename, sim_remove,
	        sim_sync_names,
	sim_free,
};

struct files *files_sim_make(uint64_t seed)
{
	struct files_sim *s = base_zalloc(sizeof(*s));

	s->files.ops = &sim_ops;
	s->files.path = "(simulated)";
	s->dice = seed * 0x9e3779b97f4a7c15ull + 1;
	s->cut = UINT64_MAX;
	return &s->files;
}

uint64_t files_sim_steps(struct files *f)
{
	return sim_of(f)->steps;
}

void files_sim_cut(struct files *f, uint64_t at)
{
	sim_of(f)->cut = at;
}

void files_sim_fail(struct files *f, int rc)
{
	sim_of(f)->fail = rc;
}

/* Of a file that was not synced: the length of then or of now, and of what differs each sector by itself; one that
 * was never written to the medium reads as zeros. */
static void lose(struct files_sim *s, struct node *n)
{
	size_t len = draw(s, 2) ? n->len : n->kept_len;
	char *after = base_zalloc(len + 1);

	for (size_t at = 0; at < len; at += SECTOR) {
		size_t end = min_u64(at + SECTOR, len), kept_end = min_u64(end, n->kept_len), now_end = min_u64(end, n->len);

		if (kept_end > at)
			memcpy(after + at, n->kept + at, kept_end - at);
		if (now_end > at && draw(s, 2))
			memcpy(after + at, n->bytes + at, now_end - at);
	}
	free(n->bytes);
	n->bytes = after;
	n->len = len;
}

void files_sim_crash(struct files *f, enum files_crash how)
{
	struct files_sim *s = sim_of(f);

	s->cut = UINT64_MAX;
	s->fail = 0;
	s->locked = false;
	if (how == FILES_KILLED)
		return;
	for (int i = 0; i < s->node_count; i++)
		lose(s, &s->nodes[i]);
	if (draw(s, 2)) /* the names go to the medium together: a journal of the file system's own */
		memcpy(s->now, s->kept, sizeof(s->now));
	memcpy(s->kept, s->now, sizeof(s->kept));
	for (int i = 0; i < s->node_count; i++)
		set(&s->nodes[i].kept, &s->nodes[i].kept_len, s->nodes[i].bytes, s->nodes[i].len);
}

char *files_sim_bytes(struct files *f, const char *name, size_t *ret_len)
{
	struct files_sim *s = sim_of(f);
	struct name *n = find(s->now, name);

	if (!n || n->node < 0)
		return NULL;
	*ret_len = s->nodes[n->node].len;
	return s->nodes[n->node].bytes;
}
