/* Files and folders of tests, without a shell. */
#ifndef TESTS_UNIT_FILES_H
#define TESTS_UNIT_FILES_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Calls see for each regular file below path until it returns true; then removes all of it if that
 * was asked for. What is not there has nothing in it. -1 when something stays.
 */
static inline int files_walk(const char *path, bool remove,
			     bool (*see)(const char *path, const struct stat *st, void *arg),
			     void *arg)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int rc = d || errno == ENOENT ? 0 : -1;

	while (d && rc == 0 && (entry = readdir(d))) {
		char inner[512];
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) >=
			(int)sizeof(inner) ||
		    lstat(inner, &st) < 0)
			rc = -1;
		else if (S_ISDIR(st.st_mode))
			rc = files_walk(inner, remove, see, arg);
		else if (see && S_ISREG(st.st_mode) && see(inner, &st, arg))
			rc = 1;
		if (rc == 0 && remove && !S_ISDIR(st.st_mode))
			rc = unlink(inner);
	}
	if (d)
		closedir(d);
	return rc == 0 && d && remove ? rmdir(path) : rc;
}

static inline int files_remove(const char *folder)
{
	return files_walk(folder, true, NULL, NULL);
}

/* Holes stay holes. */
static inline int files_copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	off_t size = lseek(in, 0, SEEK_END), data = 0;
	int rc = in < 0 || out < 0 || size < 0 || ftruncate(out, size) ? -1 : 0;

	while (rc == 0 && (data = lseek(in, data, SEEK_DATA)) >= 0) {
		off_t end = lseek(in, data, SEEK_HOLE), at = data;

		while (rc == 0 && data < end) {
			ssize_t n = copy_file_range(in, &data, out, &at, (size_t)(end - data), 0);

			rc = n > 0 ? 0 : -1;
		}
	}
	close(in);
	return out < 0 || close(out) ? -1 : rc;
}

#endif
