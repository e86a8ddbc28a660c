/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* speeds.c: the cache file of learnt speeds; see speeds.h. */
#include "pick/speeds.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "taio.h"

#define SPEEDS_FORMAT   "taio-speeds 1"
#define SPEEDS_FILE_MAX 65536

static int speeds_directory(char *path, size_t size)
{
	const char *cache = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	int n;

	if (cache && cache[0] == '/')
		n = snprintf(path, size, "%s/taio", cache);
	else if (home && home[0] == '/')
		n = snprintf(path, size, "%s/.cache/taio", home);
	else
		return -ENOENT;
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Another kernel or machine prices anew. */
static void speeds_machine(char *text, size_t size)
{
	struct utsname name;

	if (uname(&name))
		memset(&name, 0, sizeof(name));
	snprintf(text, size, "%s %s %s %ld", name.nodename, name.release, name.machine,
		 sysconf(_SC_NPROCESSORS_ONLN));
}

static bool speeds_room(struct speeds *speeds)
{
	if (speeds->entry)
		return true;
	speeds->entry = mmap(NULL, SPEEDS_MAX * sizeof(*speeds->entry), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (speeds->entry == MAP_FAILED)
		speeds->entry = NULL;
	return speeds->entry != NULL;
}

static struct speed *speeds_find(struct speeds *speeds, const char *context, const char *device)
{
	for (uint32_t i = 0; i < speeds->count; i++)
		if (strcmp(speeds->entry[i].context, context) == 0 &&
		    strcmp(speeds->entry[i].device, device) == 0)
			return &speeds->entry[i];
	return NULL;
}

/* Digits up to @stop, which is stepped over. */
static bool speeds_number(char **text, char stop, unsigned long *ret_value)
{
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	*ret_value = strtoul(*text, &end, 10);
	*text = end + 1;
	return *end == stop;
}

static void speeds_parse_line(struct speeds *speeds, char *line)
{
	char *context = line, *device, *figures;
	unsigned long base, rate, source;

	device = strchr(line, '|');
	if (!device)
		return;
	*device++ = '\0';
	figures = strchr(device, '|');
	if (!figures || speeds->count == SPEEDS_MAX)
		return;
	*figures++ = '\0';
	if (strlen(context) >= sizeof(speeds->entry->context) ||
	    strlen(device) >= sizeof(speeds->entry->device))
		return;
	if (!speeds_number(&figures, '|', &base) || !speeds_number(&figures, '|', &rate) ||
	    !speeds_number(&figures, '\0', &source) || base > 1000000000UL || rate > 1000000000UL ||
	    source > TAIO_SPEED_LEARNT)
		return;
	speeds_set(speeds, context, device, (uint32_t)base, (uint32_t)rate, (uint32_t)source);
}

static void speeds_parse(struct speeds *speeds, char *text)
{
	char machine[256], *line = strtok_r(text, "\n", &text);

	if (!line || strcmp(line, SPEEDS_FORMAT))
		return;
	line = strtok_r(NULL, "\n", &text);
	speeds_machine(machine, sizeof(machine));
	if (!line || strcmp(line, machine))
		return;
	while ((line = strtok_r(NULL, "\n", &text)) != NULL)
		speeds_parse_line(speeds, line);
}

static void speeds_load(struct speeds *speeds)
{
	char path[PATH_MAX], *text;
	ssize_t n;
	int fd;

	speeds->loaded = true;
	if (!speeds_room(speeds) || speeds_directory(path, sizeof(path) - 8))
		return;
	strcat(path, "/speeds");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	text = mmap(NULL, SPEEDS_FILE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	if (text != MAP_FAILED) {
		n = read(fd, text, SPEEDS_FILE_MAX - 1);
		if (n > 0)
			speeds_parse(speeds, text);
		munmap(text, SPEEDS_FILE_MAX);
	}
	close(fd);
	speeds->dirty = false;
}

const struct speed *speeds_of_device(struct speeds *speeds, const char *device)
{
	if (!speeds->loaded)
		speeds_load(speeds);
	for (uint32_t i = 0; i < speeds->count; i++)
		if (strcmp(speeds->entry[i].device, device) == 0)
			return &speeds->entry[i];
	return NULL;
}

void speeds_apply(struct speeds *speeds, const char *context, const char *device,
		  struct taio_caps *caps)
{
	const struct speed *speed;

	if (!speeds->loaded)
		speeds_load(speeds);
	speed = speeds->entry ? speeds_find(speeds, context, device) : NULL;
	if (!speed)
		return;
	caps->base_ns = speed->base_ns;
	caps->ps_per_byte = speed->ps_per_byte;
	caps->source = speed->source;
}

void speeds_set(struct speeds *speeds, const char *context, const char *device, uint32_t base_ns,
		uint32_t ps_per_byte, uint32_t source)
{
	struct speed *speed;

	if (!speeds_room(speeds))
		return;
	speed = speeds_find(speeds, context, device);
	if (!speed) {
		if (speeds->count == SPEEDS_MAX)
			return;
		speed = &speeds->entry[speeds->count++];
		snprintf(speed->context, sizeof(speed->context), "%s", context);
		snprintf(speed->device, sizeof(speed->device), "%s", device);
	}
	speed->base_ns = base_ns;
	speed->ps_per_byte = ps_per_byte;
	speed->source = source;
	speeds->dirty = true;
}

/* Weighted least squares of ns = base + rate * bytes with weights 1 / ns^2, so that a class counts
 * by its relative error and small steps are not drowned by large ones. */
bool speeds_fit(const struct taio_lat *const lat[TAIO_CLASSES], uint64_t min_count,
		uint32_t *ret_base_ns, uint32_t *ret_ps_per_byte)
{
	double w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0, base, rate, det;
	unsigned int classes = 0;

	for (unsigned int c = 0; c < TAIO_CLASSES; c++) {
		double x, y, weight;

		if (!lat[c] || lat[c]->count < min_count || !lat[c]->ewma_ns[0])
			continue;
		x = (double)lat[c]->bytes / (double)lat[c]->count;
		y = lat[c]->ewma_ns[0];
		weight = 1.0 / (y * y);
		w += weight;
		wx += weight * x;
		wy += weight * y;
		wxx += weight * x * x;
		wxy += weight * x * y;
		classes++;
	}
	if (classes < 2)
		return false;
	det = w * wxx - wx * wx;
	if (det <= 0)
		return false;
	rate = (w * wxy - wx * wy) / det;
	base = (wy - rate * wx) / w;
	if (base < 0) { /* what is dearer per byte when it is large: all is in the bytes */
		base = 0;
		rate = wxy / wxx;
	} else if (rate < 0) { /* what costs the same at every size */
		rate = 0;
		base = wy / w;
	}
	if (rate > 1e6 || base > 1e9)
		return false;
	*ret_base_ns = (uint32_t)base;
	*ret_ps_per_byte = (uint32_t)(rate * 1000);
	return true;
}

static int speeds_write(const struct speeds *speeds, int fd)
{
	char line[320], machine[256];
	int n;

	speeds_machine(machine, sizeof(machine));
	n = snprintf(line, sizeof(line), "%s\n%s\n", SPEEDS_FORMAT, machine);
	if (write(fd, line, (size_t)n) != n)
		return -EIO;
	for (uint32_t i = 0; i < speeds->count; i++) {
		const struct speed *s = &speeds->entry[i];

		n = snprintf(line, sizeof(line), "%s|%s|%u|%u|%u\n", s->context, s->device,
			     s->base_ns, s->ps_per_byte, s->source);
		if (write(fd, line, (size_t)n) != n)
			return -EIO;
	}
	return 0;
}

int speeds_save(struct speeds *speeds)
{
	char directory[PATH_MAX], parent[PATH_MAX], path[PATH_MAX + 8], temp[PATH_MAX + 32], *slash;
	int fd, rc = speeds_directory(directory, sizeof(directory));

	if (rc || !speeds->dirty)
		return rc;
	strcpy(parent, directory);
	slash = strrchr(parent, '/');
	if (slash) {
		*slash = '\0';
		(void)mkdir(parent, 0700);
	}
	(void)mkdir(directory, 0700);
	snprintf(path, sizeof(path), "%s/speeds", directory);
	snprintf(temp, sizeof(temp), "%s/.speeds-%ld", directory, (long)getpid());
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = speeds_write(speeds, fd);
	if (close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(temp, path))
		rc = -errno;
	if (rc)
		unlink(temp);
	else
		speeds->dirty = false;
	return rc;
}

void speeds_close(struct speeds *speeds)
{
	if (speeds->entry)
		munmap(speeds->entry, SPEEDS_MAX * sizeof(*speeds->entry));
	memset(speeds, 0, sizeof(*speeds));
}
