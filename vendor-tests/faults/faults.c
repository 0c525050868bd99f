/* A disk that misbehaves, put between a program and its C library by LD_PRELOAD.
 *
 * The file named by FAULTS holds one word: what is wrong with files of a log directory from now on.
 *   none        nothing
 *   short       a write takes seven bytes at most
 *   write-eio   a write fails with EIO
 *   sync-eio    a flush fails with EIO
 *   full        a write fails with ENOSPC
 *   slow-read   a read takes 20 ms longer
 *   slow-sync   a flush takes 100 ms longer
 *   emfile      no new file can be opened: EMFILE
 * Of an index directory:
 *   index-eio   every change fails with EIO
 *   index-eperm every change fails with EPERM
 * Each failure adds a line to the file named by FAULTS with ".log" behind.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int is_below(int fd, const char *directory) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, directory) != NULL;
}

static int is_said(const char *what) {
    const char *name = getenv("FAULTS");
    char word[32] = "";
    if (name == NULL)
        return 0;
    FILE *file = fopen(name, "r");
    if (file == NULL)
        return 0;
    int found = fscanf(file, "%31s", word);
    fclose(file);
    return found == 1 && strcmp(word, what) == 0;
}

static int is_wrong(int fd, const char *what) { return is_below(fd, "/log/") && is_said(what); }

static void log_failure(const char *what) {
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s.log", getenv("FAULTS"));
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
        log_failure("write-eio");
        errno = EIO;
        return -1;
    }
    if (is_wrong(fd, "full")) {
        log_failure("full");
        errno = ENOSPC;
        return -1;
    }
    if (count > 7 && is_wrong(fd, "short")) {
        log_failure("short");
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
        log_failure("sync-eio");
        errno = EIO;
        return -1;
    }
    if (is_wrong(fd, "slow-sync"))
        usleep(100000);
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

/* The error that a change of this path gets; 0: none. */
static int index_error(const char *path) {
    if (strstr(path, "/index") == NULL)
        return 0;
    if (is_said("index-eio"))
        return EIO;
    return is_said("index-eperm") ? EPERM : 0;
}

static int is_index_wrong(const char *path) {
    int error = index_error(path);
    if (error == 0)
        return 0;
    log_failure("index");
    errno = error;
    return 1;
}

static int faulty_open(const char *path, int flags, mode_t mode) {
    static int (*real)(const char *, int, ...);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "open64");
    if ((flags & O_ACCMODE) != O_RDONLY && is_index_wrong(path))
        return -1;
    if ((flags & O_CREAT) != 0 && strstr(path, "/log/") != NULL && is_said("emfile")) {
        log_failure("emfile");
        errno = EMFILE;
        return -1;
    }
    return real(path, flags, mode);
}

#define WITH_MODE                                                                                  \
    mode_t mode = 0;                                                                               \
    if ((flags & O_CREAT) != 0) {                                                                  \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open64(const char *path, int flags, ...) {
    WITH_MODE
    return faulty_open(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    WITH_MODE
    return faulty_open(path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "write");
    if (is_below(fd, "/index/") && is_index_wrong("/index"))
        return -1;
    return real(fd, bytes, count);
}

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    return is_index_wrong(path) ? -1 : real(path);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    return is_index_wrong(from) ? -1 : real(from, to);
}

int mkdir(const char *path, mode_t mode) {
    int (*real)(const char *, mode_t) = dlsym(RTLD_NEXT, "mkdir");
    return is_index_wrong(path) ? -1 : real(path, mode);
}
