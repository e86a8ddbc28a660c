/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_tcp.c: a file to TCP connections over loopback, 1 and 64 at a time: a blocking sendfile loop,
 * mmap(MAP_POPULATE) and send, nginx, and taio with all connections in one engine.
 *
 * One client for all of them, on CPU 1: it sends a small HTTP request on each connection, then reads
 * the answers until all are complete, and throws the bodies away inside the kernel (MSG_TRUNC), so
 * that the receiver's copy does not hide the sender. Every server is one thread (or nginx worker) on
 * CPU 0 with persistent connections, and answers with a head and the file, which all but nginx open
 * anew each time. The contenders take turns; the figure is the median over rounds. Nobody polls for
 * completions: busy polling on the CPU that runs the softirq starves loopback.
 *
 * Beside the speed stands what a request costs the server's thread in processor time (all but nginx
 * run on one thread here), which does not depend on what else the machine has to do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"

#define CONNECTIONS    64
#define HEAD_BYTES     230 /* about as long as nginx's */
#define SAMPLE_BYTES   (64ULL << 20)
#define SAMPLE_BATCHES 300
#define ROUNDS_MAX     15
#define PIECE          (4ULL << 20)

#define REQUEST "GET /%012llu HTTP/1.1\r\nHost: localhost\r\n\r\n"

static char request[sizeof(REQUEST) + 16]; /* always of one length */
static size_t request_len;
static char file_path[256], file_directory[192];
static struct taio *engine;
static uint64_t devices_seen; /* by taio in the present cell */
static bool failed;           /* a server could not do its work */

/* ---- servers ----------------------------------------------------------------------------------- */

struct contender {
	const char *name;
	bool (*serve)(const int *fds, unsigned int count, uint64_t size); /* NULL: nginx */
	int port;
	int client[CONNECTIONS], server[CONNECTIONS];
	struct bench_series series, cpu;
};

static bool send_head(int fd, uint64_t size)
{
	char head[HEAD_BYTES + 1];
	int len = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\nX-Pad: ",
			   (unsigned long long)size);

	memset(head + len, 'x', (size_t)(HEAD_BYTES - len));
	memcpy(head + HEAD_BYTES - 4, "\r\n\r\n", 4);
	return send(fd, head, HEAD_BYTES, MSG_NOSIGNAL | MSG_MORE) == HEAD_BYTES;
}

/* Takes the next request of a connection. */
static bool take_request(int fd)
{
	char room[sizeof(request)];

	return recv(fd, room, request_len, MSG_WAITALL) == (ssize_t)request_len;
}

static bool serve_sendfile(const int *fds, unsigned int count, uint64_t size)
{
	for (unsigned int i = 0; i < count; i++) {
		uint64_t left = size;
		int file;

		if (!take_request(fds[i]) || !send_head(fds[i], size))
			return false;
		file = open(file_path, O_RDONLY | O_CLOEXEC);
		while (left > 0) {
			ssize_t n = sendfile(fds[i], file, NULL, left);

			if (n <= 0)
				return false;
			left -= (uint64_t)n;
		}
		close(file);
	}
	return true;
}

static bool send_all(int fd, const char *data, uint64_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (uint64_t)n;
	}
	return true;
}

static bool serve_mmap(const int *fds, unsigned int count, uint64_t size)
{
	for (unsigned int i = 0; i < count; i++) {
		int file;

		if (!take_request(fds[i]) || !send_head(fds[i], size))
			return false;
		file = open(file_path, O_RDONLY | O_CLOEXEC);
		for (uint64_t at = 0; at < size;) {
			uint64_t n = size - at < PIECE ? size - at : PIECE;
			void *p = mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_POPULATE, file,
				       (off_t)at);

			if (p == MAP_FAILED || !send_all(fds[i], p, n))
				return false;
			munmap(p, n);
			at += n;
		}
		close(file);
	}
	return true;
}

static bool serve_taio(const int *fds, unsigned int count, uint64_t size)
{
	for (unsigned int i = 0; i < count; i++) {
		if (!take_request(fds[i]) || !send_head(fds[i], size) ||
		    taio_schedule_file_socket(engine, file_path, fds[i], i))
			return false;
	}
	for (unsigned int left = count; left > 0;) {
		struct taio_event events[CONNECTIONS];
		int n = taio_get_events(engine, events, left, CONNECTIONS, -1);

		if (n < 0)
			return false;
		for (int i = 0; i < n; i++) {
			devices_seen |= events[i].devices;
			if (events[i].result != (int64_t)size)
				return false;
		}
		left -= (unsigned int)n;
	}
	return true;
}

/* ---- nginx ------------------------------------------------------------------------------------- */

static pid_t nginx_pid;
static char nginx_dir[192];

static void nginx_stop(void)
{
	if (nginx_pid > 0) {
		kill(nginx_pid, SIGTERM);
		waitpid(nginx_pid, NULL, 0);
	}
	nginx_pid = 0;
}

static bool nginx_start(const char *directory, const int ports[2])
{
	char conf[256];
	FILE *file;

	if (access("/usr/sbin/nginx", X_OK) < 0)
		return false;
	snprintf(nginx_dir, sizeof(nginx_dir), "%s", directory);
	snprintf(conf, sizeof(conf), "%s/nginx.conf", directory);
	file = fopen(conf, "w");
	if (!file)
		bench_die(conf);
	fprintf(file,
		"%s daemon off; worker_processes 1; worker_cpu_affinity 01; pid %s/pid;\n"
		"error_log stderr crit; events { worker_connections 1024; }\n"
		"http { access_log off; keepalive_requests 100000000; keepalive_timeout 600;\n"
		"open_file_cache max=1000; tcp_nopush off; root %s;\n"
		"client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f;\n"
		"uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"
		"server { listen 127.0.0.1:%d; sendfile on; }\n"
		"server { listen 127.0.0.1:%d; sendfile off; output_buffers 2 128k; } }\n",
		geteuid() == 0 ? "user root;" : "", directory, directory, directory, directory,
		directory, directory, directory, ports[0], ports[1]);
	fclose(file);
	nginx_pid = fork();
	if (nginx_pid == 0) {
		execl("/usr/sbin/nginx", "nginx", "-p", directory, "-c", conf, (char *)NULL);
		_exit(127);
	}
	atexit(nginx_stop);
	return nginx_pid > 0;
}

/* ---- connections ------------------------------------------------------------------------------- */

static struct sockaddr_in address_of(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sin;
}

static int listener_open(int *ret_port)
{
	struct sockaddr_in sin = address_of(0);
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
	    listen(fd, CONNECTIONS) < 0 || getsockname(fd, (struct sockaddr *)&sin, &len) < 0)
		bench_die("listen");
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static int connect_patiently(int port)
{
	struct sockaddr_in sin = address_of(port);

	for (int tries = 0; tries < 300; tries++) {
		const int on = 1;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) == 0) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			return fd;
		}
		close(fd);
		usleep(10000); /* nginx is starting */
	}
	bench_die("connect");
}

static void contender_connect(struct contender *c)
{
	int listener = c->serve ? listener_open(&c->port) : -1;

	for (int i = 0; i < CONNECTIONS; i++) {
		const int on = 1;

		c->client[i] = connect_patiently(c->port);
		if (listener < 0)
			continue;
		c->server[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		setsockopt(c->server[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	if (listener >= 0)
		close(listener);
}

/* ---- the client -------------------------------------------------------------------------------- */

struct answer {
	uint64_t left; /* bytes of the body that are still to come */
	size_t head;   /* bytes of the head that came */
	bool in_body;
	char room[4096];
};

/* Reads what is there. Return: whether the answer is complete. */
static bool answer_read(struct answer *a, int fd, int flags)
{
	static char nowhere[1 << 18];

	while (!a->in_body) {
		ssize_t n = recv(fd, a->room + a->head, sizeof(a->room) - 1 - a->head, flags);
		char *end;

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0)
			bench_die("the answer's head");
		a->head += (size_t)n;
		a->room[a->head] = '\0';
		end = strstr(a->room, "\r\n\r\n");
		if (!end)
			continue;
		a->left -= a->head - (size_t)(end + 4 - a->room);
		a->in_body = true;
	}
	while (a->left > 0) {
		size_t want = a->left < 16 << 20 ? a->left : 16 << 20;
		ssize_t n = recv(fd, nowhere, want, flags | MSG_TRUNC);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0)
			bench_die("the answer's body");
		a->left -= (uint64_t)n;
	}
	return true;
}

static struct answer answers[CONNECTIONS];

static void client_batch(const int *fds, unsigned int count, uint64_t size, int epoll)
{
	for (unsigned int i = 0; i < count; i++) {
		answers[i].left = size;
		answers[i].head = 0;
		answers[i].in_body = false;
		if (write(fds[i], request, request_len) != (ssize_t)request_len)
			bench_die("request");
	}
	if (count == 1) {
		while (!answer_read(&answers[0], fds[0], 0))
			;
		return;
	}
	for (unsigned int left = count; left > 0;) {
		struct epoll_event events[CONNECTIONS];
		int n = epoll_wait(epoll, events, CONNECTIONS, 20000);

		if (n <= 0)
			bench_die("the answers");
		for (int i = 0; i < n; i++)
			left -= answer_read(&answers[events[i].data.u32], fds[events[i].data.u32],
					    MSG_DONTWAIT);
	}
}

/* ---- a sample ---------------------------------------------------------------------------------- */

struct job {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct contender *contender; /* NULL: nothing to do */
	unsigned int connections, batches;
	uint64_t size;
};

static struct job job = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* with one CPU: as it is */
}

static void *server_main(void *arg)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_MAY_BLOCK };

	(void)arg;
	run_on_cpu(0);
	if (taio_open(&engine, &options))
		bench_die("taio_open");
	pthread_mutex_lock(&job.lock);
	for (;;) {
		while (!job.contender)
			pthread_cond_wait(&job.changed, &job.lock);
		for (unsigned int i = 0; i < job.batches && !failed; i++)
			failed = !job.contender->serve(job.contender->server, job.connections,
						       job.size);
		if (failed)
			bench_die(job.contender->name);
		job.contender = NULL;
		pthread_cond_broadcast(&job.changed);
	}
	return NULL;
}

static pthread_t server;

static double server_cpu_ns(void)
{
	struct timespec t;
	clockid_t clock;

	if (pthread_getcpuclockid(server, &clock) || clock_gettime(clock, &t))
		return 0;
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Return: ns of one batch; what it cost the server is added to its series. */
static double sample(struct contender *c, unsigned int connections, uint64_t size,
		     unsigned int batches)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	double ns, cpu_ns;
	uint64_t start;

	for (unsigned int i = 0; connections > 1 && i < connections; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->client[i], &event) < 0)
			bench_die("epoll_ctl");
	}
	if (c->serve) {
		pthread_mutex_lock(&job.lock);
		job.connections = connections;
		job.batches = batches;
		job.size = size;
		job.contender = c;
		pthread_cond_broadcast(&job.changed);
		pthread_mutex_unlock(&job.lock);
	}
	cpu_ns = server_cpu_ns();
	start = bench_now_ns();
	for (unsigned int i = 0; i < batches; i++)
		client_batch(c->client, connections, size, epoll);
	ns = (double)(bench_now_ns() - start) / batches;
	if (c->serve) {
		pthread_mutex_lock(&job.lock);
		while (job.contender)
			pthread_cond_wait(&job.changed, &job.lock);
		pthread_mutex_unlock(&job.lock);
	}
	bench_add(&c->cpu, (server_cpu_ns() - cpu_ns) / batches / connections);
	close(epoll);
	return ns;
}

/* ---- cells ------------------------------------------------------------------------------------- */

enum {
	TAIO,
	SENDFILE,
	MMAP,
	NGINX_ON,
	NGINX_OFF,
	CONTENDERS
};

static struct contender contenders[CONTENDERS] = {
	[TAIO] = { .name = "taio", .serve = serve_taio },
	[SENDFILE] = { .name = "sendfile", .serve = serve_sendfile },
	[MMAP] = { .name = "mmap+send", .serve = serve_mmap },
	[NGINX_ON] = { .name = "nginx sendfile on" },
	[NGINX_OFF] = { .name = "nginx sendfile off" },
};

/* A name for each size: nginx remembers what a file was like. */
static void make_file(uint64_t size)
{
	if (file_path[0])
		unlink(file_path);
	snprintf(file_path, sizeof(file_path), "%s/%012llu", file_directory,
		 (unsigned long long)size);
	request_len = (size_t)snprintf(request, sizeof(request), REQUEST, (unsigned long long)size);
	bench_make_file(file_path, size);
}

static void device_names(char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < 64; i++)
		if (devices_seen >> i & 1 && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? "," : "",
						taio_device_name(engine, i));
}

static void print_row(unsigned int connections, uint64_t size, const char *peer, int which,
		      unsigned int rounds)
{
	const double bytes = (double)size * connections;
	const double mine = bench_median(&contenders[TAIO].series);
	const double theirs = bench_median(&contenders[which].series);
	const double cpu_us = bench_median(&contenders[TAIO].cpu) / 1e3;
	const double their_cpu_us = bench_median(&contenders[which].cpu) / 1e3;
	char label[24], devices[128];

	device_names(devices, sizeof(devices));
	printf("{\"bench\":\"tcp\",\"connections\":%u,\"bytes\":%llu,\"size\":\"%s\","
	       "\"peer\":\"%s\",\"route\":\"%s\",\"taio_gbps\":%.3f,\"peer_gbps\":%.3f,"
	       "\"ratio\":%.3f,\"rounds\":%u,\"cpu_us\":%.2f,\"peer_cpu_us\":%.2f,"
	       "\"devices\":\"%s\"}\n",
	       connections, (unsigned long long)size, bench_size(size, label), peer,
	       contenders[which].name, bytes * 8 / mine, bytes * 8 / theirs, theirs / mine, rounds,
	       cpu_us, contenders[which].serve ? their_cpu_us : 0.0, devices);
	fflush(stdout);
}

static int faster(int a, int b)
{
	return bench_median(&contenders[a].series) <= bench_median(&contenders[b].series) ? a : b;
}

/* Turns until the cell's time is over, but one at least. Return: how many. */
static unsigned int take_turns(unsigned int connections, uint64_t size, uint64_t until_ns,
			       unsigned int most, int count, unsigned int batches, bool counts)
{
	unsigned int turns = 0;

	while (turns < most && (turns == 0 || bench_now_ns() < until_ns)) {
		for (int i = 0; i < count; i++) {
			double ns = sample(&contenders[i], connections, size, batches);

			if (counts)
				bench_add(&contenders[i].series, ns);
			else
				contenders[i].cpu.count = 0;
		}
		turns++;
	}
	return turns;
}

static void cell(unsigned int connections, uint64_t size, uint64_t budget_ns, int count)
{
	const uint64_t total = size * connections, start = bench_now_ns();
	const uint64_t most = connections > 1 ? SAMPLE_BATCHES / 8 : SAMPLE_BATCHES;
	uint64_t batches = SAMPLE_BYTES / total;
	unsigned int rounds = 0;

	batches = batches < 1 ? 1 : batches > most ? most : batches;
	make_file(size);
	devices_seen = 0;
	for (int i = 0; i < count; i++)
		contenders[i].series.count = contenders[i].cpu.count = 0;
	/* nobody's first times count; taio has to learn this cell, too */
	if (total <= 1ULL << 30)
		(void)take_turns(connections, size, start + budget_ns / 4, 4, count,
				 (unsigned int)batches, false);
	rounds = take_turns(connections, size, start + budget_ns, ROUNDS_MAX, count,
			    (unsigned int)batches, true);
	print_row(connections, size, "sendfile", SENDFILE, rounds);
	print_row(connections, size, "best", faster(SENDFILE, MMAP), rounds);
	if (count > NGINX_OFF)
		print_row(connections, size, "nginx", faster(NGINX_ON, NGINX_OFF), rounds);
}

/* Every contender's answer is the file, byte by byte. */
static void verify(int count)
{
	const uint64_t size = 3000001;
	char *want = malloc(size), *got = malloc(size + 4096);
	int file;

	make_file(size);
	file = open(file_path, O_RDONLY);
	if (!want || !got || read(file, want, size) != (ssize_t)size)
		bench_die("verify");
	close(file);
	for (int i = 0; i < count; i++) {
		struct contender *c = &contenders[i];
		size_t have = 0, head = 0;

		if (c->serve) {
			pthread_mutex_lock(&job.lock);
			job.connections = job.batches = 1;
			job.size = size;
			job.contender = c;
			pthread_cond_broadcast(&job.changed);
			pthread_mutex_unlock(&job.lock);
		}
		if (write(c->client[0], request, request_len) < 0)
			bench_die("verify");
		while (head == 0 || have < head + size) {
			ssize_t n = recv(c->client[0], got + have, size + 4096 - have, 0);
			char *end;

			if (n <= 0)
				bench_die("verify");
			have += (size_t)n;
			end = memmem(got, have, "\r\n\r\n", 4);
			if (head == 0 && end)
				head = (size_t)(end + 4 - got);
		}
		if (have != head + size || memcmp(got + head, want, size) != 0) {
			errno = EBADMSG;
			bench_die(c->name);
		}
		pthread_mutex_lock(&job.lock);
		while (job.contender)
			pthread_cond_wait(&job.changed, &job.lock);
		pthread_mutex_unlock(&job.lock);
	}
	free(want);
	free(got);
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = { 1 << 10,   4 << 10, 16 << 10, 64 << 10,
					  256 << 10, 1 << 20, 16 << 20, 256 << 20 };
	const bool quick = bench_is_quick(argc, argv);
	const char *directory = bench_directory(getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	int ports[2], count = CONTENDERS;

	signal(SIGPIPE, SIG_IGN);
	if (!directory)
		bench_die("a directory");
	snprintf(file_directory, sizeof(file_directory), "%s", directory);
	for (int i = 0; i < 2; i++)
		close(listener_open(&ports[i]));
	if (nginx_start(directory, ports)) {
		contenders[NGINX_ON].port = ports[0];
		contenders[NGINX_OFF].port = ports[1];
	} else {
		fprintf(stderr, "bench: tcp: nginx is missing, compared without it\n");
		count = NGINX_ON;
	}
	if (pthread_create(&server, NULL, server_main, NULL))
		bench_die("pthread_create");
	run_on_cpu(1);
	for (int i = 0; i < count; i++)
		contender_connect(&contenders[i]);
	verify(count);
	for (unsigned int connections = 1; connections <= CONNECTIONS;
	     connections += CONNECTIONS - 1)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			const uint64_t total = sizes[i] * connections;
			/* the largest takes what it takes, half a minute and more */
			uint64_t budget_ms = quick ? 1200 : total >= 1ULL << 28 ? 4000 : 2500;

			if (quick && (total >= 1ULL << 30 || i % 2 == 0))
				continue;
			cell(connections, sizes[i], budget_ms * 1000000, count);
		}
	return 0;
}
