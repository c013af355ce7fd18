/* SPDX-License-Identifier: BSD-3-Clause */
/* symbol.c: the name of a function of this program, static ones too, from its own symbol table. */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/os/os.h"

/* The program file, mapped when the first name is asked for and kept. */
static struct {
	const Elf64_Sym *symbols;
	size_t count;
	const char *names;
	size_t names_len;
	uintptr_t base;
} image;
static pthread_once_t image_once = PTHREAD_ONCE_INIT;

static void image_load(void);

const char *platform_symbol(void *fn)
{
	uintptr_t at;

	if (!fn)
		return NULL;
	pthread_once(&image_once, image_load);
	at = (uintptr_t)fn - image.base;
	for (size_t i = 0; i < image.count; i++) {
		const Elf64_Sym *s = &image.symbols[i];

		if (ELF64_ST_TYPE(s->st_info) == STT_FUNC && at - s->st_value < s->st_size && s->st_name < image.names_len)
			return image.names + s->st_name;
	}
	return NULL;
}

static int note_base(struct dl_phdr_info *info, size_t size, void *arg)
{
	image.base = info->dlpi_addr;
	return 1; /* the first one is the program */
}

static void find_symbols(const uint8_t *file, size_t len)
{
	const Elf64_Ehdr *head = (const void *)file;
	const Elf64_Shdr *sections;

	if (len < sizeof(*head) || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_ident[EI_CLASS] != ELFCLASS64 ||
	    head->e_shoff > len || head->e_shnum > (len - head->e_shoff) / sizeof(*sections))
		return;
	sections = (const void *)(file + head->e_shoff);
	for (uint32_t i = 0; i < head->e_shnum; i++) {
		const Elf64_Shdr *s = &sections[i], *names;

		if (s->sh_type != SHT_SYMTAB || s->sh_link >= head->e_shnum)
			continue;
		names = &sections[s->sh_link];
		if (s->sh_offset > len || s->sh_size > len - s->sh_offset || names->sh_offset > len ||
		    names->sh_size > len - names->sh_offset)
			return;
		image.names = (const char *)file + names->sh_offset;
		image.names_len = names->sh_size;
		image.symbols = (const void *)(file + s->sh_offset);
		image.count = s->sh_size / sizeof(*image.symbols);
		return;
	}
}

static void image_load(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *file = MAP_FAILED;

	dl_iterate_phdr(note_base, NULL);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && st.st_size > 0)
		file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (file != MAP_FAILED)
		find_symbols(file, (size_t)st.st_size);
}
