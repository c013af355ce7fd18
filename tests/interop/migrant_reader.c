/* SPDX-License-Identifier: BSD-3-Clause */
/* migrant_reader.c: runs in a guest that moves: reads a disk, again and again, into memory that nothing but the disk
 * ever writes. What a disk wrote and did not tell of is missing in the memory that arrives; a processor's writes would
 * hide that. Two parts of the disk differ; each piece of memory has the one, then the other. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 65536u
#define PIECES 64u
#define WORDS (PIECE / sizeof(uint64_t))
#define AT (32u << 20)          /* behind what fio has of the disk */

static uint64_t word(unsigned part, unsigned piece, unsigned i)
{
	return ((uint64_t)part << 63 | (uint64_t)piece << 32 | i) * 0x9e3779b97f4a7c15u;
}

static off_t place(unsigned part, unsigned piece)
{
	return AT + (off_t)(part * PIECES + piece) * PIECE;
}

static void fail(const char *disk, const char *what, unsigned long round)
{
	printf("FAILED on %s: %s in round %lu\n", disk, what, round);
	exit(1);
}

static void check(const char *disk, const uint64_t *all, unsigned long round)
{
	for (unsigned p = 0; p < PIECES; p++)
		for (unsigned i = 0; i < WORDS; i++)
			if (all[p * WORDS + i] != word((round + p) & 1, p, i))
				fail(disk, "memory that the disk wrote is not what it wrote", round);
}

int main(int argc, char **argv)
{
	const char *disk = argv[argc - 1];
	int fd = open(disk, O_RDWR | O_DIRECT);
	uint64_t *all = mmap(NULL, PIECES * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
	                     0);

	setlinebuf(stdout);
	if (fd < 0 || all == MAP_FAILED)
		fail(disk, "open or mmap", 0);
	for (unsigned at = 0; at < 2 * PIECES; at++) {
		for (unsigned i = 0; i < WORDS; i++)
			all[i] = word(at / PIECES, at % PIECES, i);
		if (pwrite(fd, all, PIECE, place(at / PIECES, at % PIECES)) != PIECE)
			fail(disk, "a write", 0);
	}
	for (unsigned long round = 0;; round++) {
		for (unsigned p = 0; p < PIECES; p++)
			if (pread(fd, all + p * WORDS, PIECE, place((round + p) & 1, p)) != PIECE)
				fail(disk, "a read", round);
		usleep(200000);
		check(disk, all, round);
	}
}
