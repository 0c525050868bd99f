/* A disk that misbehaves, put between a program and its C library by LD_PRELOAD.
 *
 * The file named by FAULTS holds one word: what is wrong with files of a log directory from now on.
 *   none        nothing
 *   short       a write takes seven bytes at most
 *   write-eio   a write fails with EIO
 *   sync-eio    a flush fails with EIO
 *   full        a write fails with ENOSPC
 *   slow-read   a read takes 20 ms longer
 * Each failure adds a line to the file named by FAULTS with ".told" behind.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/log/") != NULL;
}

static int is_wrong(int fd, const char *what) {
    const char *name = getenv("FAULTS");
    char word[32] = "";
    if (name == NULL || !is_log(fd))
        return 0;
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return 0;
    int found = fscanf(file, "%31s", word);
    fclose(file);
    return found == 1 && strcmp(word, what) == 0;
}

static void tell(const char *what) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s.told", getenv("FAULTS"));
    FILE *file = fopen(name, "a");
    if (file != NULL) {
        fprintf(file, "%s\n", what);
        fclose(file);
    }
}

static ssize_t faulty_write(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "pwrite64");
    if (is_wrong(fd, "write-eio")) {
        tell("write-eio");
        errno = EIO;
        return -1;
    }
    if (is_wrong(fd, "full")) {
        tell("full");
        errno = ENOSPC;
        return -1;
    }
    if (count > 7 && is_wrong(fd, "short")) {
        tell("short");
        count = 7;
    }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return faulty_write(fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return faulty_write(fd, bytes, count, at);
}

static int faulty_sync(int fd, const char *name) {
    if (is_wrong(fd, "sync-eio")) {
        tell("sync-eio");
        errno = EIO;
        return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fdatasync(int fd) { return faulty_sync(fd, "fdatasync"); }

int fsync(int fd) { return faulty_sync(fd, "fsync"); }

static ssize_t slow_read(int fd, void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, void *, size_t, off64_t);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "pread64");
    if (is_wrong(fd, "slow-read"))
        usleep(20000);
    return real(fd, bytes, count, at);
}

ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) {
    return slow_read(fd, bytes, count, at);
}

ssize_t pread(int fd, void *bytes, size_t count, off_t at) {
    return slow_read(fd, bytes, count, at);
}
