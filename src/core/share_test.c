/* SPDX-License-Identifier: BSD-3-Clause */
/* share_test.c: a page of shared memory that goes away under a read or a write costs its share only; any other fault
 * ends the process as ever. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/rig_test.h"
#include "core/share.h"

#define PAGES 64u

static size_t page;

/* A file that may be shortened. */
static int open_file(size_t len)
{
	int fd = memfd_create("share_test", MFD_CLOEXEC);

	assert_return_code(fd, errno);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

static void map_all(struct share *s, int fd, size_t len)
{
	struct err e = { 0 };

	if (share_map(s, fd, 0, len, true, &e))
		fail_msg("%s", e.text);
}

/* By its file, whichever descriptor; not by one that is no more as long, and not when zeros stand in for some of it. */
static void same_memory_is_known(void **state)
{
	int fd = open_file(PAGES * page), other = open_file(PAGES * page), again = dup(fd);
	struct err e = { 0 };
	struct share s, none = { 0 };

	assert_int_equal(share_map(&s, fd, page + 8, page, true, &e), 0);
	assert_true(share_is_same(&s, again, page + 8, page));
	assert_false(share_is_same(&s, again, page, page));
	assert_false(share_is_same(&s, again, page + 8, page - 1));
	assert_false(share_is_same(&s, other, page + 8, page));
	assert_false(share_is_same(&s, -1, page + 8, page));
	assert_false(share_is_same(&none, again, 0, 0));
	assert_int_equal(ftruncate(fd, (off_t)page), 0);
	assert_false(share_is_same(&s, again, page + 8, page));
	assert_int_equal(ftruncate(fd, (off_t)(PAGES * page)), 0);
	assert_true(share_is_same(&s, again, page + 8, page));
	assert_int_equal(ftruncate(fd, (off_t)page), 0);
	(void)*(volatile uint8_t *)s.base;
	assert_int_equal(ftruncate(fd, (off_t)(PAGES * page)), 0);
	assert_false(share_is_same(&s, again, page + 8, page));
	share_unmap(&s);
	close(again);
	close(other);
	close(fd);
}

/* --- pages that are gone ---------------------------------------------------------------------------------- */

static volatile uint8_t *at(struct share *s, size_t n) { return s->base + n * page; }

/* Reads give zeros, writes go nowhere, both go on; what is before the cut stays the file's, other shares live on. */
static void truncated_file_breaks_its_share_only(void **state)
{
	int fd = open_file(PAGES * page), other_fd = open_file(PAGES * page);
	struct share s, other;
	uint8_t byte = 0;

	map_all(&s, fd, PAGES * page);
	map_all(&other, other_fd, PAGES * page);
	memset(s.base, 1, s.len);
	memset(other.base, 2, other.len);
	assert_int_equal(ftruncate(fd, (off_t)(4 * page)), 0);
	assert_int_equal(*at(&s, 3), 1);
	assert_false(share_is_broken(&s));
	assert_int_equal(*at(&s, 10), 0);
	assert_true(share_is_broken(&s));
	*at(&s, 20) = 7;
	assert_int_equal(*at(&s, 20), 7);
	*at(&s, 4) = 8;
	for (size_t n = 4; n < PAGES; n++)
		byte |= *at(&s, n);
	assert_int_equal(byte, 7 | 8);
	*at(&s, 3) = 9;
	assert_int_equal(pread(fd, &byte, 1, (off_t)(3 * page)), 1);
	assert_int_equal(byte, 9);
	assert_false(share_is_broken(&other));
	for (size_t i = 0; i < other.len; i++)
		assert_int_equal(other.base[i], 2);
	share_unmap(&s);
	share_unmap(&s); /* does no harm */
	share_unmap(&other);
	close(fd);
	close(other_fd);
}

static uint32_t mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	uint32_t lines = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		lines += c == '\n';
	fclose(f);
	return lines;
}

/* From the end to the begin, so that nothing helps: neither as many faults as pages nor as many mappings. */
static void large_file_that_goes_takes_few_mappings(void **state)
{
	size_t pages = 16384;
	int fd = open_file(pages * page);
	uint32_t before, sum = 0;
	struct share s;

	map_all(&s, fd, pages * page);
	before = mappings();
	assert_int_equal(ftruncate(fd, 0), 0);
	for (size_t n = pages; n-- > 0;)
		sum += *at(&s, n);
	assert_int_equal(sum, 0);
	assert_in_range(mappings(), 0, before + 20);
	share_unmap(&s);
	close(fd);
}

/* --- who is told ------------------------------------------------------------------------------------------ */

static struct share told[2];
static int told_fds[2];
static struct msg go, end;
static uint32_t tellings, ends;

static void end_on_control(struct msg *m) { rig_stop(); }

/* Two tellings and a touching. Nobody touches them any more then. */
static void half_ended(struct msg *m)
{
	if (++ends < 3)
		return;
	share_unmap(&told[0]);
	share_unmap(&told[1]);
	rig_stop();
}

static void told_broken(struct share *s)
{
	check(share_is_broken(s));
	check(reactor_is_control(reactor_self()));
	tellings++;
	half_ended(NULL);
}

/* A reactor touches what control owns: the first share while it is the owner's, the second before. */
static void touch_on_core(struct msg *m)
{
	for (size_t n = 0; n < PAGES; n++)
		*at(&told[0], n) = 1;
	check(share_is_broken(&told[0]));
	msg_send(core_control(rig.core), &end, half_ended);
}

static void told_start(void *arg)
{
	share_on_broken(&told[0], core_control(rig.core), told_broken);
	msg_send(core_reactor(rig.core, 0), &go, touch_on_core);
	*at(&told[1], 1) = 1;
	check(share_is_broken(&told[1]));
	share_on_broken(&told[1], core_control(rig.core), told_broken);
}

static void owner_is_told_once(void **state)
{
	tellings = ends = 0;
	for (int i = 0; i < 2; i++) {
		told_fds[i] = open_file(PAGES * page);
		map_all(&told[i], told_fds[i], PAGES * page);
		assert_int_equal(ftruncate(told_fds[i], 0), 0);
	}
	rig_run(1, CORE_INTERRUPT, told_start);
	assert_int_equal(tellings, 2);
	close(told_fds[0]);
	close(told_fds[1]);
}

static void never_told(struct share *s) { check(!"told after it was unmapped"); }

/* The message is on its way when the share goes; its place is used again. */
static void unmapped_start(void *arg)
{
	share_on_broken(&told[0], core_control(rig.core), never_told);
	*at(&told[0], 0) = 1;
	check(share_is_broken(&told[0]));
	share_unmap(&told[0]);
	memset(&told[0], 0xa5, sizeof(told[0])); /* its memory may be anything by then */
	map_all(&told[1], told_fds[1], page);
	share_on_broken(&told[1], core_control(rig.core), never_told);
	share_unmap(&told[1]);
	msg_send(core_control(rig.core), &end, end_on_control);
}

static void share_may_go_before_its_owner_hears(void **state)
{
	told_fds[0] = open_file(page);
	told_fds[1] = open_file(page);
	map_all(&told[0], told_fds[0], page);
	assert_int_equal(ftruncate(told_fds[0], 0), 0);
	rig_run(1, CORE_INTERRUPT, unmapped_start);
	close(told_fds[0]);
	close(told_fds[1]);
}

/* Two threads in the same pages, and shares that come and go beside them. */
static void *read_all(void *arg)
{
	struct share *s = arg;
	uintptr_t sum = 0;

	for (size_t n = 0; n < s->len / page; n++)
		sum += *at(s, n);
	return (void *)sum;
}

static void several_threads_may_find_it(void **state)
{
	for (int round = 0; round < 50; round++) {
		int fd = open_file(PAGES * page), other_fd = open_file(page);
		struct share s, other;
		pthread_t threads[3];
		void *sum;

		map_all(&s, fd, PAGES * page);
		assert_int_equal(ftruncate(fd, 0), 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, read_all, &s), 0);
		map_all(&other, other_fd, page);
		share_unmap(&other);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(pthread_join(threads[i], &sum), 0);
			assert_null(sum);
		}
		assert_true(share_is_broken(&s));
		share_unmap(&s);
		close(fd);
		close(other_fd);
	}
}

/* --- what is no share's ----------------------------------------------------------------------------------- */

/* Ends by the signal, or by what a sanitizer makes of it. */
static bool child_dies(void (*fn)(struct share *s), struct share *s)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		close(STDERR_FILENO);
		signal(SIGBUS, SIG_DFL); /* not the test library's */
		share_unmap(s);
		map_all(s, open_file(page), page);
		fn(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) != 0;
}

static void touch_foreign_memory(struct share *s)
{
	int fd = open_file(page);
	volatile uint8_t *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)!ftruncate(fd, 0);
	*p = 1;
}

static void touch_after_unmap(struct share *s)
{
	volatile uint8_t *p = s->base;
	int fd = open_file(page);

	share_unmap(s);
	p = mmap((void *)p, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	(void)!ftruncate(fd, 0);
	*p = 1;
}

static void be_killed(struct share *s) { kill(getpid(), SIGBUS); }

static void other_faults_end_the_process(void **state)
{
	int fd = open_file(page);
	struct share s;

	map_all(&s, fd, page);
	assert_true(child_dies(touch_foreign_memory, &s));
	assert_true(child_dies(touch_after_unmap, &s));
	assert_true(child_dies(be_killed, &s));
	share_unmap(&s);
	close(fd);
}

/* --- mapping ------------------------------------------------------------------------------------------------ */

static void refused(int fd, uint64_t offset, size_t len, int rc)
{
	struct err e = { 0 };
	struct share s;

	assert_int_equal(share_map(&s, fd, offset, len, true, &e), rc);
	assert_true(strlen(e.text) > 10);
	assert_null(s.base);
	share_unmap(&s);
}

static void only_what_a_file_has_is_mapped(void **state)
{
	int fd = open_file(2 * page), fds[2];

	refused(fd, 0, 2 * page + 1, -ERANGE);
	refused(fd, 3 * page, 1, -ERANGE);
	refused(fd, UINT64_MAX, 2, -ERANGE);
	refused(fd, 1, SIZE_MAX, -ERANGE);
	refused(fd, 0, 0, -EINVAL);
	refused(-1, 0, page, -EBADF);
	assert_int_equal(pipe(fds), 0);
	refused(fds[0], 0, page, -EINVAL);
	close(fds[0]);
	close(fds[1]);
	fds[0] = open("/dev/zero", O_RDWR);
	refused(fds[0], 0, page, -EINVAL);
	close(fds[0]);
	close(fd);
}

/* Offsets and lengths that are no whole pages; two mappings of one file; nobody can shorten it. */
static void made_memory_is_shared(void **state)
{
	struct err e = { 0 };
	int fd = share_make("share_test", 3 * page + 5, &e), copy;
	struct share a, b;

	assert_return_code(fd, 0);
	assert_int_equal(share_size(fd), 3 * page + 5);
	copy = core_fd_dup(fd);
	assert_return_code(copy, 0);
	assert_int_equal(share_map(&a, fd, page - 1, 2 * page + 6, true, &e), 0);
	assert_int_equal(share_map(&b, copy, 0, 3 * page + 5, false, &e), 0);
	core_fd_close(fd);
	core_fd_close(copy);
	assert_int_equal(a.len, 2 * page + 6);
	a.base[0] = 1;
	a.base[a.len - 1] = 2;
	assert_int_equal(b.base[page - 1], 1);
	assert_int_equal(b.base[b.len - 1], 2);
	share_unmap(&a);
	share_unmap(&b);
	fd = share_make("share_test", page, &e);
	assert_int_equal(ftruncate(fd, 0), -1);
	core_fd_close(fd);
	assert_int_equal(core_fd_dup(-1), -EBADF);
}

static void table_has_an_end(void **state)
{
	struct share *s = base_zalloc((SHARES_MAX + 1) * sizeof(*s));
	int fd = open_file(page);
	struct err e = { 0 };

	for (uint32_t i = 0; i < SHARES_MAX; i++)
		map_all(&s[i], fd, page);
	assert_int_equal(share_map(&s[SHARES_MAX], fd, 0, page, true, &e), -ENOSPC);
	share_unmap(&s[7]);
	map_all(&s[7], fd, page);
	for (uint32_t i = 0; i < SHARES_MAX; i++)
		share_unmap(&s[i]);
	close(fd);
	free(s);
}

/* Huge pages stand in for huge pages; where there are none, nothing is tested. */
static void huge_pages_are_replaced_whole(void **state)
{
	size_t huge = 2 * MIB;
	int fd = memfd_create("share_test", MFD_CLOEXEC | MFD_HUGETLB | (21u << MAP_HUGE_SHIFT));
	struct share s;
	void *probe;

	if (fd < 0 || ftruncate(fd, (off_t)(2 * huge)))
		skip();
	probe = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); /* reserves them */
	if (probe == MAP_FAILED)
		skip();
	map_all(&s, fd, 2 * huge);
	assert_int_equal(s.page, huge);
	memset(s.base, 1, s.len);
	assert_int_equal(ftruncate(fd, (off_t)huge), 0);
	*(volatile uint8_t *)(s.base + huge + page) = 1;
	assert_true(share_is_broken(&s));
	assert_int_equal(s.base[huge - 1], 1);
	assert_int_equal(s.base[huge], 0);
	share_unmap(&s);
	munmap(probe, 2 * huge);
	close(fd);
}

static int note_page(void **state)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(truncated_file_breaks_its_share_only),
		cmocka_unit_test(large_file_that_goes_takes_few_mappings),
		cmocka_unit_test(owner_is_told_once),
		cmocka_unit_test(share_may_go_before_its_owner_hears),
		cmocka_unit_test(several_threads_may_find_it),
		cmocka_unit_test(other_faults_end_the_process),
		cmocka_unit_test(only_what_a_file_has_is_mapped),
		cmocka_unit_test(made_memory_is_shared),
		cmocka_unit_test(same_memory_is_known),
		cmocka_unit_test(table_has_an_end),
		cmocka_unit_test(huge_pages_are_replaced_whole),
	};

	return cmocka_run_group_tests(tests, note_page, NULL);
}
