/* A disk that fails, for a Python that is started with LD_PRELOAD: calls on files below a folder.

   FAULTY_PATH    the folder
   FAULTY_CALL    open, read, write, sync, truncate, stat, rename, unlink, mkdir or close
   FAULTY_FIRST   the number of the first call that fails, from 1
   FAULTY_COUNT   how many fail
   FAULTY_ERRNO   with which error; 0 for reads and writes that do only half of what they were asked for
   FAULTY_LOG     a file that gets a byte for each call that has failed */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_below(const char *path) {
    const char *folder = getenv("FAULTY_PATH");
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int is_file_below(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return is_below(path);
}

/* Whether this call fails; errno is then set. */
static int fails(const char *call) {
    static atomic_long calls;
    if (strcmp(call, getenv("FAULTY_CALL"))) return 0;
    long number = atomic_fetch_add(&calls, 1) + 1, first = atol(getenv("FAULTY_FIRST"));
    if (number < first || number >= first + atol(getenv("FAULTY_COUNT"))) return 0;
    int log = syscall(SYS_openat, AT_FDCWD, getenv("FAULTY_LOG"), O_WRONLY | O_APPEND | O_CREAT, 0666);
    syscall(SYS_write, log, ".", 1);
    syscall(SYS_close, log);
    errno = atoi(getenv("FAULTY_ERRNO"));
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define ON_PATH(name, call, parameters, ...) \
    int name parameters { return is_below(path) && fails(call) ? -1 : NEXT(name)(__VA_ARGS__); }
ON_PATH(stat64, "stat", (const char *path, struct stat64 *status), path, status)
ON_PATH(lstat64, "stat", (const char *path, struct stat64 *status), path, status)
ON_PATH(rename, "rename", (const char *path, const char *target), path, target)
ON_PATH(unlink, "unlink", (const char *path), path)
ON_PATH(mkdir, "mkdir", (const char *path, mode_t mode), path, mode)

#define ON_FILE(name, call, parameters, ...) \
    int name parameters { return is_file_below(fd) && fails(call) ? -1 : NEXT(name)(__VA_ARGS__); }
ON_FILE(fsync, "sync", (int fd), fd)
ON_FILE(fdatasync, "sync", (int fd), fd)
ON_FILE(ftruncate64, "truncate", (int fd, off64_t size), fd, size)
ON_FILE(fstat64, "stat", (int fd, struct stat64 *status), fd, status)

#define MOVES_BYTES(name, call, parameters, ...)  \
    ssize_t name parameters {                     \
        if (is_file_below(fd) && fails(call)) {   \
            if (errno) return -1;                 \
            size = (size + 1) / 2;                \
        }                                         \
        return NEXT(name)(fd, __VA_ARGS__);       \
    }
MOVES_BYTES(write, "write", (int fd, const void *data, size_t size), data, size)
MOVES_BYTES(pwrite64, "write", (int fd, const void *data, size_t size, off64_t at), data, size, at)
MOVES_BYTES(read, "read", (int fd, void *data, size_t size), data, size)
MOVES_BYTES(pread64, "read", (int fd, void *data, size_t size, off64_t at), data, size, at)

ssize_t preadv64v2(int fd, const struct iovec *vector, int count, off64_t at, int flags) {
    struct iovec first = *vector;
    if (is_file_below(fd) && fails("read")) {
        if (errno) return -1;
        first.iov_len = (first.iov_len + 1) / 2;
        vector = &first;
        count = 1;
    }
    return NEXT(preadv64v2)(fd, vector, count, at, flags);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    return is_below(path) && fails("open") ? -1 : NEXT(open64)(path, flags, mode);
}

/* What is closed is closed even if that fails, as on Linux. */
int close(int fd) {
    int has_failed = is_file_below(fd) && fails("close"), number = errno;
    int result = NEXT(close)(fd);
    if (!has_failed) return result;
    errno = number;
    return -1;
}
