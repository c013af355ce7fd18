/* SPDX-License-Identifier: BSD-3-Clause */
/* completion.c: gantry completion bash: a script for the shell, which asks this program for what may follow:
 * nouns, verbs, options, and, when a daemon answers, its disks, exports, hosts, kinds and methods. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"

#define PATIENCE_S 1 /* nobody waits longer for a Tab */

static int run_completion(struct cli *c, struct cli_args *a);
static void complete(struct cli *c, size_t count, const char **words);
static void complete_verb(struct cli *c, const struct cli_noun *noun, const struct cli_verb *verb, size_t count,
                          const char **words);

static const struct cli_verb verbs[] = {
	{ NULL, "SHELL [WORD]...", "completion for a shell: bash", run_completion, .raw = true,
	  .help = "The script is installed with the program. To try it in a running shell: source <(gantry completion "
	          "bash)",
	  .example = "gantry completion bash" },
};
const struct cli_noun completion_noun = { "completion", "completion for the shell", verbs, ARRAY_SIZE(verbs) };

/* The words so far go back to the program; what it prints is what may stand there. */
static const char script[] =
	"# SPDX-License-Identifier: BSD-3-Clause\n"
	"# bash completion for gantry; written by: gantry completion bash\n"
	"_gantry()\n"
	"{\n"
	"\tlocal current line words=()\n"
	"\tline=${COMP_LINE:0:COMP_POINT}\n"
	"\tread -ra words <<<\"$line\"\n"
	"\tcase $line in *[[:space:]]) words+=('') ;; esac\n"
	"\tcurrent=${words[${#words[@]}-1]}\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\tCOMPREPLY+=(\"$line\")\n"
	"\tdone < <(\"${words[0]}\" completion words -- \"${words[@]:1}\" 2>/dev/null)\n"
	"\tif [ ${#COMPREPLY[@]} -eq 0 ]; then\n"
	"\t\tcompopt -o default\n"
	"\t\treturn\n"
	"\tfi\n"
	"\t# bash breaks words at : and =, and completes only what follows the last of them\n"
	"\tlocal cut=${current%\"${current##*[:=]}\"} i\n"
	"\tfor i in \"${!COMPREPLY[@]}\"; do\n"
	"\t\tCOMPREPLY[i]=${COMPREPLY[i]#\"$cut\"}\n"
	"\tdone\n"
	"\tcase ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac\n"
	"}\n"
	"complete -F _gantry gantry\n";

static int run_completion(struct cli *c, struct cli_args *a)
{
	if (a->word_count && strcmp(a->words[0], "bash") == 0) {
		fputs(script, stdout);
		return CLI_OK;
	}
	if (a->word_count && strcmp(a->words[0], "words") == 0) {
		c->timeout_s = PATIENCE_S;
		complete(c, a->word_count - 1, a->words + 1);
		return CLI_OK;
	}
	return cli_misuse("there is completion for bash: gantry completion bash");
}

/* One that begins as the word at the cursor does. */
static void offer(const char *typed, const char *name)
{
	if (text_starts_with(name, typed))
		printf("%s\n", name);
}

/* Nouns' options first, then the noun, the verb, and what it takes. */
static void complete(struct cli *c, size_t count, const char **words)
{
	const char *last = count ? words[count - 1] : "";
	const char *left[256];
	size_t n = 0;
	const struct cli_noun *noun;
	const struct cli_verb *verb = NULL;

	for (size_t i = 0; i < count && n < ARRAY_SIZE(left); i++) {
		bool with_value = strcmp(words[i], "-s") == 0 || strcmp(words[i], "--socket") == 0 ||
		                  strcmp(words[i], "-t") == 0 || strcmp(words[i], "--timeout") == 0;

		if (with_value && i + 2 >= count)
			return; /* a path: the shell's own */
		if (with_value && words[i][strspn(words[i], "-")] == 's')
			c->socket = words[i + 1];
		if (with_value)
			i++;
		else if (strcmp(words[i], "--json") != 0)
			left[n++] = words[i];
	}
	if (n <= 1) {
		for (size_t i = 0; cli_nouns[i]; i++)
			offer(last, cli_nouns[i]->name);
		if (*last == '-')
			for (const char *const *o = (const char *const[]){ "--socket", "--json", "--timeout", "--help",
			                                                   "--version", NULL };
			     *o; o++)
				offer(last, *o);
		return;
	}
	noun = cli_find_noun(left[0]);
	if (noun && noun->verbs[0].name && n == 2) {
		for (size_t i = 0; i < noun->verb_count; i++)
			offer(last, noun->verbs[i].name);
		return;
	}
	if (noun)
		verb = cli_find_verb(noun, noun->verbs[0].name ? left[1] : "");
	if (verb)
		complete_verb(c, noun, verb, n - (verb->name ? 2 : 1), left + (verb->name ? 2 : 1));
}

/* --- what stands behind a verb --- */

static void offer_fields(struct cli *c, const char *typed, const char *method, const char *key)
{
	struct err e = { 0 };
	struct json_object *list = client_call(c, method, NULL, &e);

	for (size_t i = 0; i < list_count(list); i++)
		offer(typed, field_text(list_at(list, i), key));
	json_object_put(list);
}

static void offer_methods(struct cli *c, const char *typed, bool kinds)
{
	struct err e = { 0 };
	struct json_object *methods = cli_methods(c, &e);

	if (kinds && methods) {
		offer(typed, "ram");
		offer(typed, "file");
	}
	for (size_t i = 0; i < list_count(methods); i++) {
		const char *name = field_text(list_at(methods, i), "name");
		char kind[64];
		size_t len = 0;
		const char *at = kinds ? disk_kind_of(name, &len) : NULL;

		if (field_bool(list_at(methods, i), "ignored") || (kinds && !at))
			continue;
		snprintf(kind, sizeof(kind), "%.*s", (int)len, at ? at : "");
		offer(typed, kinds ? kind : name);
	}
	if (!kinds)
		offer(typed, "--list");
}

static void offer_hosts(struct cli *c, const char *typed)
{
	struct err e = { 0 };
	struct json_object *all = client_call(c, "nvmf_get_subsystems", NULL, &e);

	offer(typed, "any");
	for (size_t i = 0; i < list_count(all); i++) {
		const char *nqn = field_text(list_at(all, i), "nqn");
		struct json_object *hosts = field(list_at(all, i), "hosts");
		struct json_object *ctrlrs = client_ask(c, &e, "nvmf_subsystem_get_controllers", "nqn", nqn, NULL);

		for (size_t h = 0; h < list_count(hosts); h++)
			offer(typed, field_text(list_at(hosts, h), "nqn"));
		for (size_t h = 0; h < list_count(ctrlrs); h++)
			offer(typed, field_text(list_at(ctrlrs, h), "hostnqn"));
		json_object_put(ctrlrs);
	}
	json_object_put(all);
	offer_fields(c, typed, "iscsi_get_connections", "initiator_name");
}

static void offer_flags(struct cli *c, const char *typed)
{
	struct err e = { 0 };
	struct json_object *flags = client_call(c, "log_get_flags", NULL, &e);

	if (flags) {
		json_object_object_foreach(flags, name, on) {
			(void)on;
			offer(typed, name);
		}
	}
	json_object_put(flags);
}

/* By the word's name in the verb's args. */
static void offer_word(struct cli *c, const char *typed, const char *name, size_t len)
{
	static const char *const levels[] = { "error", "warning", "notice", "info", "debug" };
	static const char *const ways[] = { "on", "off" };

	if (len >= 4 && memcmp(name + len - 4, "DISK", 4) == 0) { /* SIZE|PATH|DISK too */
		offer_fields(c, typed, "bdev_get_bdevs", "name");
	} else if (len == 6 && memcmp(name, "EXPORT", 6) == 0) {
		offer_fields(c, typed, "nvmf_get_subsystems", "nqn");
		offer_fields(c, typed, "iscsi_get_target_nodes", "name");
		offer_fields(c, typed, "bdev_get_bdevs", "name");
	} else if (len == 4 && memcmp(name, "HOST", 4) == 0) {
		offer_hosts(c, typed);
	} else if (len == 4 && memcmp(name, "KIND", 4) == 0) {
		offer_methods(c, typed, true);
	} else if (len == 6 && memcmp(name, "METHOD", 6) == 0) {
		offer_methods(c, typed, false);
	} else if (len == 5 && memcmp(name, "LEVEL", 5) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
			offer(typed, levels[i]);
	} else if (len == 6 && memcmp(name, "on|off", 6) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
			offer(typed, ways[i]);
	} else if (len == 4 && memcmp(name, "FLAG", 4) == 0) {
		offer_flags(c, typed);
	} else if (len == 5 && memcmp(name, "SHELL", 5) == 0) {
		offer(typed, "bash");
	} else if (len >= 4 && memcmp(name, "NOUN", 4) == 0) {
		for (size_t i = 0; cli_nouns[i]; i++)
			offer(typed, cli_nouns[i]->name);
		offer_methods(c, typed, false);
	}
}

/* gantry help NOUN ... */
static void offer_verbs(const char *name, const char *typed)
{
	const struct cli_noun *noun = cli_find_noun(name);

	for (size_t i = 0; noun && noun->verbs[0].name && i < noun->verb_count; i++)
		offer(typed, noun->verbs[i].name);
}

/* gantry rpc METHOD key=... */
static void complete_params(struct cli *c, const char *method, const char *typed)
{
	struct json_object *described = client_describe(c, method), *rows = field(described, "params");

	for (size_t i = 0; i < list_count(rows); i++) {
		struct json_object *choices = field(list_at(rows, i), "choices");
		char param[256];

		snprintf(param, sizeof(param), "%s=", field_text(list_at(rows, i), "name"));
		if (list_count(choices) && text_starts_with(typed, param)) {
			for (size_t k = 0; k < list_count(choices); k++) {
				snprintf(param, sizeof(param), "%s=%s", field_text(list_at(rows, i), "name"),
				         json_object_get_string(list_at(choices, k)));
				offer(typed, param);
			}
		} else if (strstr(param, "name=") && text_starts_with(typed, param)) {
			struct err e = { 0 };
			struct json_object *disks = client_call(c, "bdev_get_bdevs", NULL, &e);

			for (size_t k = 0; k < list_count(disks); k++) {
				char value[512];

				snprintf(value, sizeof(value), "%s%s", param, field_text(list_at(disks, k), "name"));
				offer(typed, value);
			}
			json_object_put(disks);
		} else {
			offer(typed, param);
		}
	}
	json_object_put(described);
}

static void complete_options(const struct cli_args *a, const char *typed)
{
	for (size_t i = 0; i < a->option_count; i++) {
		char option[128];

		snprintf(option, sizeof(option), "--%s", a->options[i].name);
		for (char *s = option; *s; s++)
			*s = *s == '_' ? '-' : *s;
		offer(typed, option);
	}
	offer(typed, "--help");
	offer(typed, "--json");
}

static void complete_verb(struct cli *c, const struct cli_noun *noun, const struct cli_verb *verb, size_t count,
                          const char **words)
{
	const char *typed = words[count - 1], *at = verb->args, *name = "";
	size_t len = 0, position = 0;
	struct err e = { 0 };
	struct cli_args a;
	bool wanted, many = false;

	c->help = true; /* what is there so far need not be whole */
	if (args_parse(c, verb, (int)count - 1, (char **)words, &a, &e))
		e.code = 0; /* a mistake further up: what can be said is said */
	if (verb->raw && noun == &rpc_noun && count > 1) {
		complete_params(c, words[0], typed);
	} else if (*typed == '-' && !verb->raw) {
		complete_options(&a, typed);
	} else {
		/* Words so far, the options' values not among them, say which one this is. */
		while (position <= a.word_count && (many || (len = cli_next_word(&at, &name, &wanted, &many)) > 0))
			position++;
		if (noun == &help_noun && count == 2)
			offer_verbs(words[0], typed);
		else if (position > a.word_count)
			offer_word(c, typed, name, len);
	}
	args_free(&a);
}
