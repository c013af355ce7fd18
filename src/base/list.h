/* SPDX-License-Identifier: BSD-3-Clause */
/* list.h: intrusive doubly linked list, and a singly linked first-in-first-out queue.
 *
 * Links live in the objects, so nothing is allocated. A `struct list` is both head and link. An
 * unlinked link points to itself; list_del() leaves it so, and deleting twice does no harm.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/base.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }
static inline bool list_linked(const struct list *l) { return l->next && l->next != l; }

static inline void list_insert(struct list *after, struct list *l)
{
	l->prev = after;
	l->next = after->next;
	after->next->prev = l;
	after->next = l;
}

static inline void list_add_head(struct list *head, struct list *l) { list_insert(head, l); }
static inline void list_add_tail(struct list *head, struct list *l) { list_insert(head->prev, l); }

static inline void list_del(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* The first link, unlinked; NULL when the list is empty. */
static inline struct list *list_pop(struct list *head)
{
	struct list *l = head->next;

	if (l == head)
		return NULL;
	list_del(l);
	return l;
}

/* Move everything on `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_first(head, type, member) \
	(list_empty(head) ? NULL : list_entry((head)->next, type, member))
#define list_each(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* The current link may be deleted (and freed) in the body. */
#define list_each_safe(pos, head) \
	for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head); \
	     pos = pos##_next, pos##_next = pos->next)

struct queue_link {
	struct queue_link *next;
};

struct queue {
	struct queue_link *first, **last;
};

static inline void queue_init(struct queue *q) { q->first = NULL; q->last = &q->first; }
static inline bool queue_empty(const struct queue *q) { return !q->first; }

static inline void queue_push(struct queue *q, struct queue_link *l)
{
	l->next = NULL;
	*q->last = l;
	q->last = &l->next;
}

static inline void queue_push_front(struct queue *q, struct queue_link *l)
{
	if (!q->first)
		q->last = &l->next;
	l->next = q->first;
	q->first = l;
}

static inline struct queue_link *queue_pop(struct queue *q)
{
	struct queue_link *l = q->first;

	if (l && !(q->first = l->next))
		q->last = &q->first;
	return l;
}

/* Take all links at once, as a chain ending in NULL. */
static inline struct queue_link *queue_take_all(struct queue *q)
{
	struct queue_link *l = q->first;

	queue_init(q);
	return l;
}

/* Take out a link that may be anywhere: walks. False: it is not in it. */
static inline bool queue_remove(struct queue *q, struct queue_link *l)
{
	struct queue_link **at = &q->first;

	while (*at && *at != l)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = l->next;
	if (!l->next)
		q->last = at;
	return true;
}

#endif
