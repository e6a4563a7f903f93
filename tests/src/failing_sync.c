/* Preloaded into a server: one fsync or fdatasync of a file whose path has $SYNC_FAILS_AT in it fails with EIO, as soon as the file
 * $SYNC_FAILS_WHEN is there, which it removes. Works below the database, which the server cannot tell from a disk that fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int descriptor) {
    const char *at = getenv("SYNC_FAILS_AT"), *when = getenv("SYNC_FAILS_WHEN");
    char link[64], path[4096];
    ssize_t length;
    if (at == NULL || when == NULL || access(when, F_OK) != 0) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) {
        return 0;
    }
    path[length] = '\0';
    return strstr(path, at) != NULL && unlink(when) == 0;
}

static int sync_or_fail(const char *name, int descriptor) {
    int (*next)(int);
    if (fails(descriptor)) {
        errno = EIO;
        return -1;
    }
    *(void **)&next = dlsym(RTLD_NEXT, name);
    return next(descriptor);
}

int fsync(int descriptor) { return sync_or_fail("fsync", descriptor); }

int fdatasync(int descriptor) { return sync_or_fail("fdatasync", descriptor); }
