/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a call costs in one cgroup beside what it costs in others.
 *
 *     calls ROUNDS CALL=COUNT... -- NAME=DIRECTORY...
 *
 * Each round makes each call COUNT times in each cgroup, whose order is drawn anew: what
 * changes with time, such as the clock of the CPU, is shared by all. A sample is a task of its
 * own, pinned to the first CPU that it may use, which enters the cgroup, warms up, and measures.
 * One of the name "seccomp" also has the filter of seccomp_families(), one of the name "nft" is in
 * the network namespace NETNS. Prints a line for each sample: CALL NAME NANOSECONDS, which are
 * those of one call.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NETNS "/run/netns/cgnet-benchmark"
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum {
	PORT = 8080,		/* the first that policies list */
	AF11 = 0x28,		/* likewise */
	CHUNK = 1 << 16,	/* bytes of a stream that are one call */
};

static uint64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000ull + at.tv_nsec;
}

static int check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static int made(int type)
{
	return check(socket(AF_INET6, type, 0), "socket");
}

static struct sockaddr_in6 loopback(int port)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	to.sin6_addr = in6addr_loopback;
	return to;
}

static void call_bind(int sock, int port)
{
	struct sockaddr_in6 to = loopback(port);

	check(bind(sock, (void *)&to, sizeof(to)), "bind");
}

static void call_connect(int sock, int port)
{
	struct sockaddr_in6 to = loopback(port);

	check(connect(sock, (void *)&to, sizeof(to)), "connect");
}

static void do_socket(long count)
{
	while (count--)
		close(made(SOCK_DGRAM));
}

static void do_setsockopt(long count)
{
	int value = AF11, sock = made(SOCK_DGRAM);

	while (count--)
		check(setsockopt(sock, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value)), "setsockopt");
	close(sock);
}

static void do_bind(long count)
{
	while (count--) {
		int sock = made(SOCK_DGRAM);

		call_bind(sock, PORT);
		close(sock);
	}
}

static void do_connect(long count)
{
	int sock = made(SOCK_DGRAM);

	while (count--)
		call_connect(sock, 9);
	close(sock);
}

static int listening(void)
{
	int sock = made(SOCK_STREAM), on = 1;

	check(setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), "SO_REUSEADDR");
	call_bind(sock, PORT);
	check(listen(sock, 1), "listen");
	return sock;
}

static void do_accept(long count)
{
	struct linger reset = { 1, 0 };
	int listener = listening();

	while (count--) {
		int client = made(SOCK_STREAM);

		call_connect(client, PORT);
		close(check(accept(listener, NULL, NULL), "accept"));
		check(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), "SO_LINGER");
		close(client);
	}
	close(listener);
}

static void do_send(long count)
{
	int to = made(SOCK_DGRAM), from = made(SOCK_DGRAM);
	char byte = 0;

	call_bind(to, PORT);
	call_connect(from, PORT);
	while (count--) {
		check(send(from, &byte, 1, 0), "send");
		check(recv(to, &byte, 1, 0), "recv");
	}
	close(to);
	close(from);
}

static void do_stream(long count)
{
	int listener = listening(), from = made(SOCK_STREAM), to;
	static char chunk[CHUNK];

	call_connect(from, PORT);
	to = check(accept(listener, NULL, NULL), "accept");
	while (count--) {
		size_t sent = 0, got = 0;

		while (got < CHUNK) {
			ssize_t some = send(from, chunk, CHUNK - sent, MSG_DONTWAIT);

			if (some > 0)
				sent += some;
			else if (some < 0 && errno != EAGAIN)
				err(1, "send");
			some = recv(to, chunk, CHUNK, MSG_DONTWAIT);
			if (some > 0)
				got += some;
			else if (some < 0 && errno != EAGAIN)
				err(1, "recv");
		}
	}
	close(from);
	close(to);
	close(listener);
}

static const struct {
	const char *name;
	void (*work)(long count);
} calls[] = {
	{ "socket", do_socket }, { "setsockopt", do_setsockopt }, { "bind", do_bind },
	{ "connect", do_connect }, { "accept", do_accept }, { "send", do_send },
	{ "stream", do_stream },
};

/* systemd's RestrictAddressFamilies=AF_INET6: any other family of socket(2) gets EAFNOSUPPORT. */
static void seccomp_families(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { COUNT(code), code };

	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "PR_SET_SECCOMP");
}

static void enter(const char *directory)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	fd = check(open(path, O_WRONLY), path);
	check(write(fd, "0", 1), path);
	close(fd);
}

static void enter_netns(void)
{
	int fd = check(open(NETNS, O_RDONLY), NETNS);

	check(setns(fd, CLONE_NEWNET), NETNS);
	close(fd);
}

static void stay_on_one_cpu(void)
{
	cpu_set_t all, one;
	int cpu = 0;

	check(sched_getaffinity(0, sizeof(all), &all), "sched_getaffinity");
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	check(sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}

static double sample(size_t call, long count, const char *name, const char *directory)
{
	double *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double found;
	int status;
	pid_t pid;

	if (result == MAP_FAILED)
		err(1, "mmap");
	pid = check(fork(), "fork");
	if (!pid) {
		uint64_t begin;

		stay_on_one_cpu();
		enter(directory);
		if (!strcmp(name, "nft"))
			enter_netns();
		if (!strcmp(name, "seccomp"))
			seccomp_families();
		calls[call].work(count / 10 + 1);
		begin = now();
		calls[call].work(count);
		*result = (double)(now() - begin) / count;
		_exit(0);
	}
	check(waitpid(pid, &status, 0), "waitpid");
	if (status)
		errx(1, "%s in %s ended with %d", calls[call].name, directory, status);
	found = *result;
	munmap(result, sizeof(*result));
	return found;
}

/* The text before and behind an equals sign. */
static char *split(char *pair)
{
	char *sign = strchr(pair, '=');

	if (!sign)
		errx(1, "%s is no NAME=VALUE", pair);
	*sign = 0;
	return sign + 1;
}

static void shuffle(int *order, int count)
{
	for (int i = count - 1; i > 0; i--) {
		int j = rand() % (i + 1), kept = order[i];

		order[i] = order[j];
		order[j] = kept;
	}
}

int main(int argc, char **argv)
{
	int rounds, end = 2, groups, order[64];
	char *directories[64];

	if (argc < 5)
		errx(1, "calls ROUNDS CALL=COUNT... -- NAME=DIRECTORY...");
	rounds = atoi(argv[1]);
	while (end < argc && strcmp(argv[end], "--"))
		end++;
	groups = argc - end - 1;
	if (groups < 1 || groups > (int)COUNT(order))
		errx(1, "%d cgroups", groups);
	for (int i = 0; i < groups; i++) {
		directories[i] = split(argv[end + 1 + i]);
		order[i] = i;
	}
	for (int which = 2; which < end; which++) {
		long count = atol(split(argv[which]));
		size_t call = 0;

		while (call < COUNT(calls) && strcmp(calls[call].name, argv[which]))
			call++;
		if (call == COUNT(calls) || count < 1)
			errx(1, "%s is no call", argv[which]);
		for (int round = 0; round < rounds; round++) {
			shuffle(order, groups);
			for (int i = 0; i < groups; i++) {
				const char *name = argv[end + 1 + order[i]];

				printf("%s %s %.1f\n", calls[call].name, name,
				       sample(call, count, name, directories[order[i]]));
				fflush(stdout);
			}
		}
	}
	return 0;
}
