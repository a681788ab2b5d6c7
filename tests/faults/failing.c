/* Fails one file operation below a folder, or kills the process at it: loaded with LD_PRELOAD, armed by arm().
 *
 * Whoever writes, Python, safetensors (Rust) or Arrow (C++), comes by these functions of the C library. Operations on
 * other files are passed on and not counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static long at = -1, seen = 0;
static int how = 0; /* an errno, or 0: SIGKILL */
static int reads = 0, lasting = 0, trace = -1;

/* Fail the operation of that number, from 0, with an errno (0: SIGKILL), and with last all that follow; -1: none.
 * The log gets what failed, or where none is to fail every operation. */
void arm(const char *folder, long number, int error, int last, int with_reads, const char *log) {
    strncpy(root, folder, sizeof root - 1);
    at = number, seen = 0, how = error, lasting = last, reads = with_reads;
    trace = log && *log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
}

long counted(void) { return seen; }

static int below(const char *path) {
    char whole[PATH_MAX];
    if (!*root || !path) return 0;
    if (*path != '/') {
        if (!getcwd(whole, sizeof whole)) return 0;
        strncat(whole, "/", sizeof whole - strlen(whole) - 1);
        strncat(whole, path, sizeof whole - strlen(whole) - 1);
        path = whole;
    }
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* Whether this operation is the one that fails; errno is then set. */
static int fails(const char *name, const char *path) {
    if (!below(path)) return 0;
    long number = __sync_fetch_and_add(&seen, 1);
    int failing = at >= 0 && (lasting ? number >= at : number == at);
    if (trace >= 0 && (failing || at < 0)) dprintf(trace, "%s %s\n", name, path); /* all, or the one that failed */
    if (!failing) return 0;
    if (!how) kill(getpid(), SIGKILL);
    errno = how;
    return 1;
}

static int fails_fd(const char *name, int fd) {
    char link[64], path[PATH_MAX];
    if (!*root || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(name, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPENING(flags) (((flags) & O_ACCMODE) != O_RDONLY ? "open to write" : "open")

#define OPEN(name)                                                                                    \
    int name(const char *path, int flags, ...) {                                                      \
        mode_t mode = 0;                                                                              \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                        \
            va_list more;                                                                             \
            va_start(more, flags);                                                                    \
            mode = va_arg(more, mode_t);                                                              \
            va_end(more);                                                                             \
        }                                                                                             \
        if (((flags & O_ACCMODE) != O_RDONLY || reads) && fails(OPENING(flags), path)) return -1;     \
        return NEXT(name)(path, flags, mode);                                                         \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                  \
    int name(int folder, const char *path, int flags, ...) {                                          \
        mode_t mode = 0;                                                                              \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                                        \
            va_list more;                                                                             \
            va_start(more, flags);                                                                    \
            mode = va_arg(more, mode_t);                                                              \
            va_end(more);                                                                             \
        }                                                                                             \
        if (((flags & O_ACCMODE) != O_RDONLY || reads) && fails(OPENING(flags), path)) return -1;     \
        return NEXT(name)(folder, path, flags, mode);                                                 \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fails_fd("write", fd)) return -1;
    return NEXT(write)(fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    if (fails_fd("pwrite", fd)) return -1;
    return NEXT(pwrite)(fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (fails_fd("pwrite", fd)) return -1;
    return NEXT(pwrite64)(fd, bytes, count, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (fails_fd("writev", fd)) return -1;
    return NEXT(writev)(fd, parts, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    if (fails_fd("sendfile", out)) return -1;
    return ((ssize_t(*)(int, int, off64_t *, size_t))dlsym(RTLD_NEXT, "sendfile64"))(out, in, offset, count);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    if (fails_fd("sendfile", out)) return -1;
    return ((ssize_t(*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile"))(out, in, offset, count);
}
ssize_t read(int fd, void *bytes, size_t count) {
    if (reads && fails_fd("read", fd)) return -1;
    return NEXT(read)(fd, bytes, count);
}
int fsync(int fd) {
    if (fails_fd("fsync", fd)) return -1;
    return NEXT(fsync)(fd);
}
int fdatasync(int fd) {
    if (fails_fd("fdatasync", fd)) return -1;
    return NEXT(fdatasync)(fd);
}
int ftruncate(int fd, off_t length) {
    if (fails_fd("ftruncate", fd)) return -1;
    return NEXT(ftruncate)(fd, length);
}
int ftruncate64(int fd, off64_t length) {
    if (fails_fd("ftruncate", fd)) return -1;
    return NEXT(ftruncate64)(fd, length);
}
int truncate(const char *path, off_t length) {
    if (fails("truncate", path)) return -1;
    return NEXT(truncate)(path, length);
}
int rename(const char *from, const char *to) {
    if (fails("rename", to)) return -1;
    return NEXT(rename)(from, to);
}
int renameat(int a, const char *from, int b, const char *to) {
    if (fails("rename", to)) return -1;
    return NEXT(renameat)(a, from, b, to);
}
int mkdir(const char *path, mode_t mode) {
    if (fails("mkdir", path)) return -1;
    return NEXT(mkdir)(path, mode);
}
int rmdir(const char *path) {
    if (fails("rmdir", path)) return -1;
    return NEXT(rmdir)(path);
}
int unlink(const char *path) {
    if (fails("unlink", path)) return -1;
    return NEXT(unlink)(path);
}
int unlinkat(int folder, const char *path, int flags) {
    char link[64], whole[PATH_MAX * 2];
    if (*root && *path != '/' && folder >= 0) { /* shutil.rmtree goes by descriptors */
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, PATH_MAX);
        if (length > 0) {
            snprintf(whole + length, PATH_MAX, "/%s", path);
            if (fails("unlink", whole)) return -1;
        }
    } else if (fails("unlink", path))
        return -1;
    return NEXT(unlinkat)(folder, path, flags);
}
