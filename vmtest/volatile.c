/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * volatile.c: a disk with a write cache that forgets. It serves one file to one QEMU (NBD over a
 * Unix socket). What is written is in memory only until a flush (or a write with FUA) makes it last;
 * where the power goes before that, each write may be there or not, or be torn between sectors.
 *
 *   volatile [-i] FILE SOCKET FROZEN
 *
 * The end of the connection without a word is the power cut: a part of the cache gets into FILE.
 * SIGUSR1 asks what a power cut would leave soon, within the next requests: guests write in bursts, and
 * between two of those nothing is in the cache. That state is appended to FROZEN as a whole disk. Each of both is told in a line on standard output. -i: a disk that lies: it acknowledges
 * flushes and does not flush. Exit status 0: served until the power cut; 1: an error.
 */
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SECTOR      512
#define REQUEST_MAX (32u << 20)
#define SOON        24 /* requests */

/* The protocol: https://github.com/NetworkBlockDevice/nbd, doc/proto.md */
#define NBD_MAGIC        0x4e42444d41474943ull
#define NBD_OPTION_MAGIC 0x49484156454f5054ull
#define NBD_REPLY_MAGIC  0x0003e889045565a9ull
#define NBD_FIXED        1 /* handshake flags */
#define NBD_NO_ZEROES    2
#define NBD_OPT_EXPORT   1
#define NBD_OPT_ABORT    2
#define NBD_OPT_GO       7
#define NBD_REP_ACK      1u
#define NBD_REP_INFO     3u
#define NBD_REP_UNKNOWN  0x80000001u
#define NBD_REQUEST      0x25609513u
#define NBD_SIMPLE_REPLY 0x67446698u
#define NBD_HAS_FLAGS    1 /* of an export */
#define NBD_SEND_FLUSH   4
#define NBD_SEND_FUA     8
#define NBD_FLAG_FUA     1 /* of a request */
enum nbd_type {
	NBD_READ,
	NBD_WRITE,
	NBD_DISCONNECT,
	NBD_FLUSH
};

struct nbd_request {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t length;
} __attribute__((packed));

/* A write that a power cut may lose. */
struct cached {
	struct cached *next;
	uint64_t offset;
	uint32_t length;
	bool lasting; /* FUA: sure to be there, but earlier ones at its place may be not */
	uint8_t data[];
};

static int disk = -1;
static uint64_t disk_bytes;
static uint8_t *view; /* what the guest sees: the file and, private to us, what is cached over it */
static struct cached *first, **last = &first;
static unsigned int cached_count;
static bool lies;
static volatile sig_atomic_t asked;

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("volatile: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void write_at(int fd, const uint8_t *data, size_t length, uint64_t offset)
{
	while (length) {
		ssize_t n = pwrite(fd, data, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("cannot write: %s", strerror(errno));
		data += n;
		length -= (size_t)n;
		offset += (uint64_t)n;
	}
}

/* ---- the cache ------------------------------------------------------------------------------ */

static void cache_write(uint64_t offset, const uint8_t *data, uint32_t length, bool lasting)
{
	struct cached *write = malloc(sizeof(*write) + length);

	if (!write)
		die("out of memory");
	*write = (struct cached){ .offset = offset, .length = length, .lasting = lasting };
	memcpy(write->data, data, length);
	memcpy(view + offset, data, length);
	*last = write;
	last = &write->next;
	cached_count++;
}

static void cache_flush(void)
{
	while (first) {
		struct cached *write = first;

		first = write->next;
		write_at(disk, write->data, write->length, write->offset);
		free(write);
	}
	last = &first;
	cached_count = 0;
}

static bool luck(unsigned int percent)
{
	return (unsigned int)random() % 100 < percent;
}

/* What a power cut leaves of the cache, written to @fd from @base on. */
static void cache_cut(int fd, uint64_t base, const char *what)
{
	static const unsigned int odds[] = { 0, 10, 50, 90, 100 };
	unsigned int chance = odds[(unsigned int)random() % 5], lost = 0, torn = 0;

	for (const struct cached *write = first; write; write = write->next) {
		uint64_t at = base + write->offset;

		if (!write->lasting && luck(5) && write->length > SECTOR) {
			torn++;
			for (uint32_t i = 0; i + SECTOR <= write->length; i += SECTOR)
				if (luck(50))
					write_at(fd, write->data + i, SECTOR, at + i);
		} else if (write->lasting || luck(chance)) {
			write_at(fd, write->data, write->length, at);
		} else {
			lost++;
		}
	}
	printf("%s %u %u %u\n", what, cached_count, lost, torn);
	fflush(stdout);
}

/* ---- a picture of the disk ------------------------------------------------------------------ */

/* Appends what is on the disk for sure, with its holes. Return: where it begins. */
static uint64_t freeze_disk(int fd)
{
	static uint8_t buffer[1 << 20];
	uint64_t base = (uint64_t)lseek(fd, 0, SEEK_END);
	off_t data = 0, hole;

	if (ftruncate(fd, (off_t)(base + disk_bytes)) < 0)
		die("cannot freeze: %s", strerror(errno));
	while ((data = lseek(disk, data, SEEK_DATA)) >= 0) {
		hole = lseek(disk, data, SEEK_HOLE);
		while (data < hole) {
			size_t room = sizeof(buffer), left = (size_t)(hole - data);
			ssize_t n = pread(disk, buffer, left < room ? left : room, data);

			if (n <= 0)
				die("cannot read: %s", strerror(errno));
			write_at(fd, buffer, (size_t)n, base + (uint64_t)data);
			data += n;
		}
	}
	return base;
}

static void freeze(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	cache_cut(fd, freeze_disk(fd), "frozen");
	close(fd);
}

static void on_ask(int signal)
{
	(void)signal;
	asked = 1;
}

/* ---- the wire ------------------------------------------------------------------------------- */

/* Return: false: the connection has ended. */
static bool take(int fd, void *to, size_t length)
{
	uint8_t *at = to;

	while (length) {
		ssize_t n = read(fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

static bool give(int fd, const void *from, size_t length)
{
	const uint8_t *at = from;

	while (length) {
		ssize_t n = send(fd, at, length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

static bool give_option(int fd, uint32_t option, uint32_t type, const void *data, uint32_t length)
{
	struct {
		uint64_t magic;
		uint32_t option, type, length;
	} __attribute__((packed))
	reply = { htobe64(NBD_REPLY_MAGIC), htobe32(option), htobe32(type), htobe32(length) };

	return give(fd, &reply, sizeof(reply)) && (!length || give(fd, data, length));
}

/* Return: the client wants to begin. */
static bool handshake(int fd)
{
	struct {
		uint64_t magic, option;
		uint16_t flags;
	} __attribute__((packed)) hello = { htobe64(NBD_MAGIC), htobe64(NBD_OPTION_MAGIC),
					    htobe16(NBD_FIXED | NBD_NO_ZEROES) };
	struct {
		uint16_t type;
		uint64_t bytes;
		uint16_t flags;
	} __attribute__((packed))
	info = { 0, htobe64(disk_bytes), htobe16(NBD_HAS_FLAGS | NBD_SEND_FLUSH | NBD_SEND_FUA) };
	uint32_t client;

	if (!give(fd, &hello, sizeof(hello)) || !take(fd, &client, sizeof(client)))
		return false;
	for (;;) {
		struct {
			uint64_t magic;
			uint32_t option, length;
		} __attribute__((packed)) ask;
		char data[4096];

		if (!take(fd, &ask, sizeof(ask)) || be64toh(ask.magic) != NBD_OPTION_MAGIC)
			return false;
		ask.option = be32toh(ask.option);
		ask.length = be32toh(ask.length);
		if (ask.length > sizeof(data) || !take(fd, data, ask.length))
			return false;
		if (ask.option == NBD_OPT_EXPORT)
			return give(fd, &info.bytes, sizeof(info) - sizeof(info.type));
		if (ask.option == NBD_OPT_GO)
			return give_option(fd, NBD_OPT_GO, NBD_REP_INFO, &info, sizeof(info)) &&
			       give_option(fd, NBD_OPT_GO, NBD_REP_ACK, NULL, 0);
		if (ask.option == NBD_OPT_ABORT ||
		    !give_option(fd, ask.option, NBD_REP_UNKNOWN, NULL, 0))
			return false;
	}
}

static bool reply(int fd, const struct nbd_request *request, uint32_t error, const void *data)
{
	struct {
		uint32_t magic, error;
		uint64_t cookie;
	} __attribute__((packed))
	answer = { htobe32(NBD_SIMPLE_REPLY), htobe32(error), request->cookie };

	return give(fd, &answer, sizeof(answer)) && (!data || give(fd, data, request->length));
}

/* Return: false: the connection has ended. */
static bool serve_one(int fd, uint8_t *buffer)
{
	struct nbd_request request;
	bool inside;

	if (!take(fd, &request, sizeof(request)))
		return false;
	if (be32toh(request.magic) != NBD_REQUEST)
		die("that is not NBD");
	request.length = be32toh(request.length);
	request.offset = be64toh(request.offset);
	inside = request.length <= REQUEST_MAX && request.offset <= disk_bytes &&
		 request.length <= disk_bytes - request.offset;
	switch (be16toh(request.type)) {
	case NBD_READ:
		if (!inside)
			return reply(fd, &request, EINVAL, NULL);
		return reply(fd, &request, 0, view + request.offset);
	case NBD_WRITE:
		if (!inside)
			die("a write beyond the end");
		if (!take(fd, buffer, request.length))
			return false;
		cache_write(request.offset, buffer, request.length,
			    !lies && (be16toh(request.flags) & NBD_FLAG_FUA));
		return reply(fd, &request, 0, NULL);
	case NBD_FLUSH:
		if (!lies)
			cache_flush();
		return reply(fd, &request, 0, NULL);
	case NBD_DISCONNECT:
		return false;
	default:
		return reply(fd, &request, EINVAL, NULL);
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		die("%s: too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

/* A signal is looked at between two requests only, so that none of them is half done. */
static void serve(int fd, const char *frozen, const sigset_t *open_mask)
{
	unsigned int countdown = 0;
	uint8_t *buffer = malloc(REQUEST_MAX);
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	if (!buffer)
		die("out of memory");
	for (;;) {
		int n = ppoll(&wait, 1, NULL, open_mask);

		if (asked) {
			countdown = 1 + (unsigned int)random() % SOON;
			asked = 0;
		}
		if (n <= 0)
			continue;
		if (!serve_one(fd, buffer))
			break;
		if (countdown && --countdown == 0)
			freeze(frozen);
	}
	free(buffer);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_ask };
	sigset_t ask, open_mask;
	unsigned int seed;
	struct stat st;
	int listening, fd;

	if (argc == 5 && strcmp(argv[1], "-i") == 0) {
		lies = true;
		argv++;
	} else if (argc != 4) {
		die("usage: volatile [-i] FILE SOCKET FROZEN");
	}
	sigemptyset(&ask);
	sigaddset(&ask, SIGUSR1);
	sigprocmask(SIG_BLOCK, &ask, &open_mask);
	sigaction(SIGUSR1, &action, NULL);
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		die("no random numbers");
	srandom(seed);
	disk = open(argv[1], O_RDWR | O_CLOEXEC);
	if (disk < 0 || fstat(disk, &st) < 0)
		die("%s: %s", argv[1], strerror(errno));
	disk_bytes = (uint64_t)st.st_size;
	view = mmap(NULL, disk_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, disk, 0);
	if (view == MAP_FAILED)
		die("%s: %s", argv[1], strerror(errno));
	listening = listen_at(argv[2]);
	printf("listening: seed %u\n", seed);
	fflush(stdout);
	fd = accept(listening, NULL, NULL);
	if (fd < 0 || !handshake(fd))
		die("no client");
	close(listening);
	serve(fd, argv[3], &open_mask);
	cache_cut(disk, 0, "cut");
	unlink(argv[2]);
	return 0;
}
