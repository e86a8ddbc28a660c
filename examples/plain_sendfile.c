/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * plain_sendfile.c: what programs do without taio: a file to 127.0.0.1:PORT, or to another file, by
 * a loop of sendfile(2). It is the rival in examples/demo.sh and knows nothing of taio.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_target(const char *target)
{
	struct sockaddr_in peer = { .sin_family = AF_INET };
	int port = atoi(target);
	int fd;

	if (strchr(target, '/'))
		return open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	peer.sin_port = htons((uint16_t)port);
	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	int from = argc == 3 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	int to = argc == 3 ? open_target(argv[2]) : -1;
	struct stat st;
	off_t done = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: plain_sendfile FILE PORT|./FILE\n");
		return 2;
	}
	if (from < 0 || to < 0 || fstat(from, &st) < 0) {
		perror("plain_sendfile");
		return 1;
	}
	while (done < st.st_size) {
		if (sendfile(to, from, &done, (size_t)(st.st_size - done)) <= 0) {
			perror("sendfile");
			return 1;
		}
	}
	/* what was written must have arrived, or the error of it */
	return close(to) < 0;
}
