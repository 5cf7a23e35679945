/* Ends a process between two of its changes to files, or fills its disk there.
 *
 * Loaded by the dynamic linker before the C library (LD_PRELOAD), so the program
 * needs no hook of its own. It counts the calls that change something below one
 * directory and that this can happen to, from 1, and at the one whose turn it is
 * does what it was told. What the program does side by side it does in any order,
 * so the number of a call among all of them would be another one in every run.
 *
 *   BOUNDARY_ROOT  the directory
 *   BOUNDARY_FROM  a part of a path: counting begins with the first call on such a one
 *   BOUNDARY_AT    the number of the call; 0 is never
 *   BOUNDARY_HOW   "before": SIGKILL instead of the call
 *                  "torn":   SIGKILL after the first half of the bytes, for a write
 *                  "once":   there is no space left, for half of the bytes and this call
 *                  "full":   there is no space left from here on
 *   BOUNDARY_LOG   a file outside of it: one line for each call that was counted
 *
 * Only what needs space fails for want of it: creating, writing, syncing, not
 * renaming, cutting and removing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum fate { PASS, TEAR, REFUSE };

static char root[PATH_MAX], from[PATH_MAX];
static long at, count;
static int begun;
static char how[16];
static int tape = -1;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("BOUNDARY_ROOT");
    if (text) snprintf(root, sizeof root, "%s", text);
    if ((text = getenv("BOUNDARY_FROM"))) snprintf(from, sizeof from, "%s", text);
    if ((text = getenv("BOUNDARY_AT"))) at = atol(text);
    if ((text = getenv("BOUNDARY_HOW"))) snprintf(how, sizeof how, "%s", text);
    if ((text = getenv("BOUNDARY_LOG")))
        tape = syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    /* Children are not meant. */
    unsetenv("LD_PRELOAD");
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

static int is_below(const char *path) {
    size_t length = strlen(root);
    return length && strncmp(path, root, length) == 0 && path[length] == '/';
}

/* A path as it was given: those that are not absolute begin at `dir`, or at the working directory. */
static int resolved(int dir, const char *path, char *full, size_t size) {
    char link[64], base[PATH_MAX];
    ssize_t length;
    if (path[0] == '/') return snprintf(full, size, "%s", path) > 0;
    if (dir == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    length = readlink(link, base, sizeof base - 1);
    if (length < 0) return 0;
    base[length] = 0;
    return snprintf(full, size, "%s/%s", base, path) > 0;
}

/* Whether the call is counted and what becomes of it. `needs_space` as above. */
static enum fate judge(const char *call, const char *path, int needs_space, int writes) {
    enum fate fate = PASS;
    if (!is_below(path)) return PASS;
    pthread_mutex_lock(&turn);
    begun = begun || strstr(path + strlen(root), from);
    if (begun && tape >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %s\n", call, path + strlen(root) + 1);
        syscall(SYS_write, tape, line, (size_t)length);
    }
    int kills = strcmp(how, "before") == 0, tears = strcmp(how, "torn") == 0, fills = strcmp(how, "full") == 0;
    int can_happen = kills || (tears ? writes : needs_space);
    if (begun && at && can_happen) {
        count++;
        if (count == at && kills) die();
        if (count == at || (count > at && fills)) fate = tears ? TEAR : REFUSE;
    }
    pthread_mutex_unlock(&turn);
    if (fate == REFUSE) errno = ENOSPC;
    return fate;
}

static enum fate judge_at(const char *call, int dir, const char *path, int needs_space) {
    char full[PATH_MAX * 2];
    if (!path || !resolved(dir, path, full, sizeof full)) return PASS;
    return judge(call, full, needs_space, 0);
}

static enum fate judge_fd(const char *call, int fd, int needs_space, int writes) {
    char link[64], path[PATH_MAX];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0) return PASS;
    path[length] = 0;
    return judge(call, path, needs_space, writes);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define CREATES(flags) (((flags) & (O_CREAT | O_TRUNC)) != 0)

static mode_t mode_of(int flags, va_list rest) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if (CREATES(flags) && judge_at("create", AT_FDCWD, path, 1) == REFUSE) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = mode_of(flags, rest); \
        va_end(rest); \
        if (CREATES(flags) && judge_at("create", dir, path, 1) == REFUSE) return -1; \
        return real(dir, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

/* After half of the bytes there is no life, or no space. */
#define HALF(fate, bytes, act) \
    if (fate != PASS) { \
        size_t some = (bytes) / 2; \
        ssize_t done = some ? (act) : 0; \
        if (fate == TEAR) die(); \
        if (done > 0) return done; \
        errno = ENOSPC; \
        return -1; \
    }

/* The rest of a write that was cut short is a call of its own, and finds no space either. */
static __thread int short_fd = -1;

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    if (short_fd == fd) {
        short_fd = -1;
        errno = ENOSPC;
        return -1;
    }
    enum fate fate = judge_fd("write", fd, 1, 1);
    if (fate == REFUSE && length / 2) short_fd = fd;
    HALF(fate, length, real(fd, bytes, some))
    return real(fd, bytes, length);
}

#define PWRITE(name, offset_type) \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type offset) { \
        REAL(name); \
        enum fate fate = judge_fd("write", fd, 1, 1); \
        HALF(fate, length, real(fd, bytes, some, offset)) \
        return real(fd, bytes, length, offset); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int number) {
    REAL(writev);
    enum fate fate = judge_fd("write", fd, 1, 1);
    HALF(fate, number > 0 ? parts[0].iov_len : 0, write(fd, parts[0].iov_base, some))
    return real(fd, parts, number);
}

#define SYNC(name) \
    int name(int fd) { \
        REAL(name); \
        return judge_fd("sync", fd, 1, 0) == REFUSE ? -1 : real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)

#define CUT(name, length_type) \
    int name(int fd, length_type length) { \
        REAL(name); \
        judge_fd("truncate", fd, 0, 0); \
        return real(fd, length); \
    }
CUT(ftruncate, off_t)
CUT(ftruncate64, off64_t)

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    judge_fd("chmod", fd, 0, 0);
    return real(fd, mode);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    judge_at("chmod", AT_FDCWD, path, 0);
    return real(path, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return judge_at("mkdir", AT_FDCWD, path, 1) == REFUSE ? -1 : real(path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    REAL(mkdirat);
    return judge_at("mkdir", dir, path, 1) == REFUSE ? -1 : real(dir, path, mode);
}

int rmdir(const char *path) {
    REAL(rmdir);
    judge_at("remove", AT_FDCWD, path, 0);
    return real(path);
}

int unlink(const char *path) {
    REAL(unlink);
    judge_at("remove", AT_FDCWD, path, 0);
    return real(path);
}

int unlinkat(int dir, const char *path, int flags) {
    REAL(unlinkat);
    judge_at("remove", dir, path, 0);
    return real(dir, path, flags);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    judge_at("rename", AT_FDCWD, to, 0);
    return real(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    REAL(renameat);
    judge_at("rename", to_dir, to, 0);
    return real(from_dir, from, to_dir, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags) {
    REAL(renameat2);
    judge_at("rename", to_dir, to, 0);
    return real(from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to) {
    REAL(link);
    return judge_at("link", AT_FDCWD, to, 1) == REFUSE ? -1 : real(from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    REAL(linkat);
    return judge_at("link", to_dir, to, 1) == REFUSE ? -1 : real(from_dir, from, to_dir, to, flags);
}
