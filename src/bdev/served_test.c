/* SPDX-License-Identifier: BSD-3-Clause */
/* served_test.c: a device that is shown to hosts is checked first, usable on every core, and closed when the last core
 * has left it: not before, and no matter who still remembers it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "bdev/fake_disk_test.h"
#include "bdev/rig_test.h"
#include "bdev/served.h"

struct shown {
	uint32_t number;
	struct bdev_served dev;
};

static struct rig rig;
static struct fake_disk fake;
static struct shown *shown;
static struct err err;
static struct bdev_served_wait waiting;
static uint32_t overs, closed;
static bool goes, read_only;
static sem_t answer;

static void device_event(struct bdev_desc *desc, enum bdev_event event, void *arg)
{
	goes = event == BDEV_EVENT_REMOVE && arg == &shown->dev;
}

static void over(struct bdev_served *s)
{
	overs++;
	free(container_of(s, struct shown, dev));
}

static const struct bdev_served_ops ops = { .shown_as = "picture", .param = "picture_of",
	.event = device_event, .over = over };

static void on_control(void (*fn)(void *arg), void *arg) { rig_on(core_control(rig.core), fn, arg); }

static void open_here(void *arg)
{
	shown = bdev_served_zalloc(struct shown, dev, rig.core);
	if (bdev_served_open(&shown->dev, rig.reg, arg, read_only, "test", &ops, &err) == 0)
		return;
	free(shown);
	shown = NULL;
}

static int show(const char *name)
{
	err = (struct err){ 0 };
	overs = closed = 0;
	on_control(open_here, (void *)name);
	return err.code;
}

static void register_here(void *arg) { must(bdev_register(rig.reg, &fake.bdev, NULL) == 0); }
static void unregistered(void *arg, int rc) { sem_post(&answer); }
static void unregister_here(void *arg) { bdev_unregister(&fake.bdev, unregistered, NULL); }
static void answered(void *arg) { sem_post(arg); }
static void enter_all_here(void *arg) { bdev_served_enter_all(&shown->dev, answered, &answer); }
static void leave_all_here(void *arg) { bdev_served_leave_all(&shown->dev, answered, &answer); }
static void unref_here(void *arg) { bdev_served_unref(&shown->dev); }

static int (*channel_open)(struct bdev_channel *ch, struct err *e);

static void begin(void)
{
	rig_start(&rig, 2);
	fake_init(&fake, "fake");
	sem_init(&answer, 0, 0);
	read_only = goes = false;
}

static void end(void)
{
	on_control(unregister_here, NULL);
	sem_wait(&answer);
	rig_stop(&rig);
	fake_fini(&fake);
	sem_destroy(&answer);
}

static void enter_all(void)
{
	on_control(enter_all_here, NULL);
	sem_wait(&answer);
}

static void cores_in_here(void *arg) { *(uint32_t *)arg = shown->dev.cores_in; }

/* Until control has heard from all cores but so many. */
static void wait_for_cores(uint32_t left)
{
	uint32_t in = UINT32_MAX;

	while (in != left)
		on_control(cores_in_here, &in);
}

static void leave_all(uint32_t left)
{
	on_control(leave_all_here, NULL);
	sem_wait(&answer);
	wait_for_cores(left);
}

/* What cannot be shown is refused with a sentence, and left alone: else it could never go. */
static void what_cannot_be_shown_is_refused(void **state)
{
	begin();
	assert_int_equal(show("fake"), -ENODEV);
	assert_non_null(strstr(err.text, "picture_of: there is no device 'fake'"));
	fake.bdev.md_size = 256;
	on_control(register_here, NULL);
	assert_int_equal(show("fake"), -ENOTSUP);
	assert_non_null(strstr(err.text, "up to 128 can be hidden"));
	end();
}

static void who_may_only_read_says_so(void **state)
{
	begin();
	on_control(register_here, NULL);
	read_only = true;
	assert_int_equal(show("fake"), 0);
	assert_true(shown->dev.made_read_only && shown->dev.info.read_only && shown->dev.view[1].read_only);
	assert_int_equal(shown->dev.view[0].shift, 9);
	on_control(unref_here, NULL);
	assert_int_equal(overs, 1);
	end();
}

static void view_enter_here(void *arg) { must(bdev_view_enter(&shown->dev.view[1], NULL)); }
static void view_put_here(void *arg) { bdev_view_put(&shown->dev.view[1]); }

static void is_closed(struct bdev_served_wait *w)
{
	closed++;
}

static void wait_here(void *arg) { bdev_served_wait_closed(&shown->dev, &waiting, is_closed); }

/* A removed LUN is answered for when nothing of it can land any more; that is when its last command ended, though a
 * version that is being left still names it. */
static void closes_when_the_last_core_left(void **state)
{
	begin();
	on_control(register_here, NULL);
	assert_int_equal(show("fake"), 0);
	enter_all();
	rig_on(rig_core(&rig, 1), view_enter_here, NULL); /* a command */
	leave_all(1);
	on_control(wait_here, NULL);
	assert_true(shown->dev.desc && shown->dev.view[1].ch && !shown->dev.view[0].ch && !closed);
	rig_on(rig_core(&rig, 1), view_put_here, NULL);
	wait_for_cores(0);
	assert_true(!shown->dev.desc && closed == 1 && !overs);
	on_control(wait_here, NULL); /* who comes late hears at once */
	assert_int_equal(closed, 2);
	on_control(unref_here, NULL);
	assert_int_equal(overs, 1);
	end();
}

static int not_on_core_1(struct bdev_channel *ch, struct err *e)
{
	if (reactor_index(reactor_self()) == 1)
		return err_set(e, -ENOMEM, "no memory");
	return channel_open(ch, e);
}

/* One core that cannot use it is enough to say no; it is counted there all the same. */
static void says_which_core_cannot(void **state)
{
	struct bdev_ops fails = fake_ops;

	begin();
	channel_open = fake_ops.channel_open;
	fails.channel_open = not_on_core_1;
	fake.bdev.ops = &fails;
	on_control(register_here, NULL);
	assert_int_equal(show("fake"), 0);
	assert_int_equal(bdev_served_check(&shown->dev, &err), 0);
	enter_all();
	assert_true(shown->dev.view[0].ch && !shown->dev.view[1].ch);
	assert_int_equal(bdev_served_check(&shown->dev, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "cannot be used on every core: no memory"));
	leave_all(0);
	on_control(unref_here, NULL);
	assert_int_equal(overs, 1);
	end();
}

/* What its front-end hears of: then it lets go. */
static void hears_that_its_device_goes(void **state)
{
	begin();
	on_control(register_here, NULL);
	assert_int_equal(show("fake"), 0);
	on_control(unregister_here, NULL);
	assert_true(goes);
	on_control(unref_here, NULL);
	sem_wait(&answer);
	assert_true(fake.destroyed && overs == 1);
	rig_stop(&rig);
	fake_fini(&fake);
	sem_destroy(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_shown_is_refused),
		cmocka_unit_test(who_may_only_read_says_so),
		cmocka_unit_test(closes_when_the_last_core_left),
		cmocka_unit_test(says_which_core_cannot),
		cmocka_unit_test(hears_that_its_device_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
