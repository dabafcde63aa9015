/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The same bpf() calls as a run of cgnet_policy makes, and nothing else: what the kernel needs
 * for them at least.
 *
 *     bare apply|look|remove OBJECT MAP VALUE PINS PROGRAM... < DIRECTORIES
 *
 * `apply` loads the programs and pins them with the map below PINS, and for each cgroup attaches
 * every program by a link, pins that, and stores the content of the file VALUE. `look` opens each
 * pin, asks what it is, and reads what is stored. `remove` detaches, so that nothing is in effect
 * when it returns, and unpins. Prints the nanoseconds that it took, from the first call to the last.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CGROUPS = 1 << 16, PATH = 512 };

static char *directories[CGROUPS];
static uint64_t ids[CGROUPS];
static char value[1 << 16];
static int count;

static int check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static const char *joined(const char *folder, const char *name)
{
	static char path[PATH];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static const char *link_path(const char *pins, int cgroup, const char *name)
{
	static char path[PATH];

	snprintf(path, sizeof(path), "%s/%llu/%s", pins, (unsigned long long)ids[cgroup], name);
	return path;
}

static void read_directories(void)
{
	char line[PATH];

	while (fgets(line, sizeof(line), stdin)) {
		struct stat found;

		line[strcspn(line, "\n")] = 0;
		check(stat(line, &found), line);
		ids[count] = found.st_ino;
		directories[count++] = strdup(line);
	}
}

static void apply(const char *object, const char *map, const char *pins, char **programs)
{
	struct bpf_object *opened = bpf_object__open_file(object, NULL);
	struct bpf_program *program;
	int stored;

	if (!opened)
		err(1, "%s", object);
	bpf_object__for_each_program(program, opened) {
		int wanted = 0;

		for (char **each = programs; *each; each++)
			wanted |= !strcmp(*each, bpf_program__name(program));
		bpf_program__set_autoload(program, wanted);
	}
	check(bpf_object__load(opened), "bpf_object__load");
	check(mkdir(pins, 0700), pins);
	stored = bpf_object__find_map_fd_by_name(opened, map);
	check(bpf_obj_pin(stored, joined(pins, "map")), "pin of the map");
	for (char **each = programs; *each; each++) {
		program = bpf_object__find_program_by_name(opened, *each);
		check(bpf_obj_pin(bpf_program__fd(program), joined(pins, *each)), *each);
	}
	for (int i = 0; i < count; i++) {
		int cgroup = check(open(directories[i], O_RDONLY | O_DIRECTORY), directories[i]);

		check(mkdir(link_path(pins, i, ""), 0700), "mkdir");
		for (char **each = programs; *each; each++) {
			program = bpf_object__find_program_by_name(opened, *each);
			int link = check(bpf_link_create(bpf_program__fd(program), cgroup,
				bpf_program__expected_attach_type(program), NULL), *each);

			check(bpf_obj_pin(link, link_path(pins, i, *each)), "pin of a link");
			close(link);
		}
		check(bpf_map_update_elem(stored, &ids[i], value, BPF_EXIST), "what is stored");
		close(cgroup);
	}
	bpf_object__close(opened);
}

static void look(const char *pins, char **programs)
{
	int stored = check(bpf_obj_get(joined(pins, "map")), "the map");

	for (int i = 0; i < count; i++) {
		for (char **each = programs; *each; each++) {
			struct bpf_link_info info = {};
			__u32 size = sizeof(info);
			int link = check(bpf_obj_get(link_path(pins, i, *each)), *each);

			check(bpf_obj_get_info_by_fd(link, &info, &size), "info");
			close(link);
		}
		check(bpf_map_lookup_elem(stored, &ids[i], value), "what is stored");
	}
	close(stored);
}

static void take_away(const char *pins, char **programs)
{
	for (int i = 0; i < count; i++) {
		for (char **each = programs; *each; each++) {
			int link = check(bpf_obj_get(link_path(pins, i, *each)), *each);

			check(bpf_link_detach(link), *each);
			close(link);
			check(unlink(link_path(pins, i, *each)), *each);
		}
		check(rmdir(link_path(pins, i, "")), "rmdir");
	}
	for (char **each = programs; *each; each++)
		check(unlink(joined(pins, *each)), *each);
	check(unlink(joined(pins, "map")), "the map");
	check(rmdir(pins), pins);
}

int main(int argc, char **argv)
{
	struct rlimit all = { 1 << 20, 1 << 20 };
	uint64_t begin;
	FILE *file;

	if (argc < 7)
		errx(1, "bare apply|look|remove OBJECT MAP VALUE PINS PROGRAM... < DIRECTORIES");
	setrlimit(RLIMIT_NOFILE, &all);
	file = fopen(argv[4], "rb");
	if (!file || !fread(value, 1, sizeof(value), file))
		err(1, "%s", argv[4]);
	read_directories();
	begin = now();
	if (!strcmp(argv[1], "apply"))
		apply(argv[2], argv[3], argv[5], argv + 6);
	else if (!strcmp(argv[1], "look"))
		look(argv[5], argv + 6);
	else
		take_away(argv[5], argv + 6);
	printf("%llu\n", (unsigned long long)(now() - begin));
	return 0;
}
