/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c: gantry: commands for people over the daemon's RPCs. */
#include <argp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"

enum { KEY_JSON = 256 };

static const struct command {
	const char *name, *args, *doc;
	int (*run)(struct cli *c, int argc, char **argv);
} commands[] = {
	{ "status", "", "what runs: reactors, disks, subsystems, memory", status_command },
	{ "rpc", "METHOD [key=value]...", "call any method; gantry rpc --list shows them", rpc_command },
	{ "help", "[METHOD]", "this, or help on a method", help_command },
};

static const struct argp_option rows[] = {
	{ "socket", 's', "PATH", 0, "The daemon's socket; else $GANTRY_SOCKET, else " CLI_SOCKET, 0 },
	{ "json", KEY_JSON, NULL, 0, "Results as JSON", 0 },
	{ "timeout", 't', "SECONDS", 0, "How long to wait for an answer; 60 is the default, 0 waits for ever", 0 },
	{ 0 },
};

static const char doc[] =
	"Looks after a gantryd."
	"\v"
	"Commands:\n"
	"  status                       what runs: reactors, disks, subsystems, memory\n"
	"  rpc METHOD [key=value]...    call any method\n"
	"  rpc --list                   all methods\n"
	"  help METHOD                  its parameters\n\n"
	"Status: 0 success, 1 the daemon refused, 2 wrong use, 3 no daemon answers.";

struct arguments {
	struct cli cli;
	int command_at, argc; /* the command's place in argv; how many are left */
};

static error_t parse_option(int key, char *arg, struct argp_state *state);
static const struct command *find_command(const char *name);

int main(int argc, char **argv)
{
	static const struct argp argp = { .options = rows, .parser = parse_option, .doc = doc,
		.args_doc = "COMMAND [ARGUMENT]..." };
	struct arguments a = { .cli = { .socket = getenv("GANTRY_SOCKET"), .timeout_s = 60, .fd = -1 } };
	const struct command *command;
	int status;

	if (!a.cli.socket || !*a.cli.socket)
		a.cli.socket = CLI_SOCKET;
	argp_program_version = "gantry " GANTRY_VERSION;
	argp_err_exit_status = CLI_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
	command = find_command(argv[a.command_at]);
	if (!command)
		return CLI_USAGE;
	if (command->run == help_command && a.argc - a.command_at < 2) {
		argp_help(&argp, stdout, ARGP_HELP_STD_HELP & ~(unsigned)ARGP_HELP_EXIT_OK, (char *)"gantry");
		return CLI_OK;
	}
	status = command->run(&a.cli, a.argc - a.command_at, argv + a.command_at);
	client_close(&a.cli);
	return status;
}

/* Options before the command are ours; what follows it is the command's. */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct arguments *a = state->input;
	struct err e = { 0 };
	uint64_t seconds;

	switch (key) {
	case 's':
		a->cli.socket = arg;
		break;
	case KEY_JSON:
		a->cli.json = true;
		break;
	case 't':
		if (text_parse_u64(arg, &seconds, &e) || seconds > 1000000)
			argp_error(state, "--timeout: \"%s\" is not a number of seconds", arg);
		a->cli.timeout_s = (uint32_t)seconds;
		break;
	case ARGP_KEY_ARG:
		a->command_at = state->next - 1;
		/* --json, a socket and so on may follow the command too. */
		for (int i = state->next; i < state->argc; i++) {
			if (strcmp(state->argv[i], "--json") != 0)
				continue;
			a->cli.json = true;
			memmove(&state->argv[i], &state->argv[i + 1], (size_t)(state->argc - i) * sizeof(char *));
			state->argc--;
			i--;
		}
		a->argc = state->argc;
		state->next = state->argc;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_usage(state);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct command *find_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands)], *nearest;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		names[i] = commands[i].name;
	}
	nearest = text_nearest(name, names, ARRAY_SIZE(names));
	fprintf(stderr, "gantry: there is no command \"%s\"; %s%s%s\n", name, nearest ? "did you mean " : "",
	        nearest ? nearest : "gantry --help lists them", nearest ? "?" : "");
	return NULL;
}

/* --- shared --------------------------------------------------------------------------------------------------- */

int cli_fail(const struct err *e)
{
	fprintf(stderr, "gantry: %s\n", e->text);
	if (e->code == CLIENT_UNREACHABLE)
		return CLI_UNREACHABLE;
	return e->code == CLIENT_MISTYPED ? CLI_USAGE : CLI_REFUSED;
}

void cli_print_json(struct json_object *json)
{
	if (json_object_is_type(json, json_type_string) && isatty(STDOUT_FILENO))
		printf("%s\n", json_object_get_string(json));
	else
		printf("%s\n", json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
		                                              JSON_C_TO_STRING_NOSLASHESCAPE));
}

struct json_object *field(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

const char *field_text(struct json_object *o, const char *key)
{
	struct json_object *v = field(o, key);

	return v ? json_object_get_string(v) : "";
}

uint64_t field_u64(struct json_object *o, const char *key)
{
	return json_object_get_uint64(field(o, key));
}

bool field_bool(struct json_object *o, const char *key)
{
	return json_object_get_boolean(field(o, key));
}

size_t list_count(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

size_t cli_width(void)
{
	struct winsize w;

	if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col)
		return w.ws_col;
	return SIZE_MAX;
}
