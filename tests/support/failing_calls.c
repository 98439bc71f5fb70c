/* Makes calls of the C library fail, for files whose path has some text in it: built and preloaded by failing_calls.py.

   FAIL_CALLS: names, separated by spaces. FAIL_ERRNO: the error, or 0: the process is
   killed. FAIL_PATH: the text. FAIL_AFTER: calls that succeed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long done;

static int fails(const char *call, const char *path) {
    const char *calls = getenv("FAIL_CALLS"), *part = getenv("FAIL_PATH"), *after = getenv("FAIL_AFTER");
    char padded[256], name[32];
    if (!calls || !part || !strstr(path, part)) return 0;
    snprintf(padded, sizeof padded, " %s ", calls);
    snprintf(name, sizeof name, " %s ", call);
    if (!strstr(padded, name) || __sync_fetch_and_add(&done, 1) < (after ? atol(after) : 0)) return 0;
    errno = atoi(getenv("FAIL_ERRNO"));
    if (!errno) kill(getpid(), SIGKILL);
    return 1;
}

static int fails_on(const char *call, int file) {
    char link[64], path[4096];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return fails(call, path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int file, void *into, size_t count) { return fails_on("read", file) ? -1 : REAL(read)(file, into, count); }
ssize_t write(int file, const void *from, size_t count) { return fails_on("write", file) ? -1 : REAL(write)(file, from, count); }
ssize_t pwrite64(int file, const void *from, size_t count, off64_t at) { return fails_on("pwrite", file) ? -1 : REAL(pwrite64)(file, from, count, at); }
int fsync(int file) { return fails_on("fsync", file) ? -1 : REAL(fsync)(file); }
int flock(int file, int how) { return fails_on("flock", file) ? -1 : REAL(flock)(file, how); }
int rename(const char *from, const char *to) { return fails("rename", to) ? -1 : REAL(rename)(from, to); }

#define OPEN(name)                                                    \
    int name(const char *path, int flags, ...) {                      \
        va_list list;                                                 \
        va_start(list, flags);                                        \
        mode_t mode = va_arg(list, mode_t);                           \
        va_end(list);                                                 \
        return fails("open", path) ? -1 : REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)
