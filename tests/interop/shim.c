/* A worse network, and a worse kernel, for a program that is not told: LD_PRELOAD.
 *
 * Reads and writes on stream sockets are cut short to 1 to 7 bytes, interrupted, or put off, and
 * accept4 and epoll_wait fail now and then. Whoever asked for more than it was given gets a new edge
 * from epoll, as it would if the rest had arrived, or had been drained, a little later: the descriptor
 * is modified to what it was registered with. All else is left alone: files, pipes, datagrams,
 * listeners, and pairs of sockets without a name, which are how a program speaks to itself.
 *
 * In the environment, each a percentage of calls, and 0 unless it is set:
 *   SHIM_SHORT      reads and writes that are cut short
 *   SHIM_INTERRUPT  reads and writes that end with EINTR
 *   SHIM_AGAIN      reads and writes that end with EAGAIN, and an edge to follow
 *   SHIM_ACCEPT     accepts that end with ECONNABORTED, EPROTO, ENOBUFS or ENFILE
 *   SHIM_WAIT       waits that end with EINTR
 * and SHIM_SEED, and SHIM_REPORT, the file that is told at the end how often each of them happened.
 *
 * System calls are made directly: what interposes send runs in signal handlers too. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 65536, PIECE_MAX = 7, KERNEL_SIGNAL_SET_SIZE = 8 };

/* Where a descriptor is registered, and as what. */
struct registration {
    _Atomic int poll; /* 0: nowhere */
    struct epoll_event event;
};

static struct registration registrations[DESCRIPTORS_MAX];

static unsigned percent_short, percent_interrupt, percent_again, percent_accept, percent_wait;
static const char *report_path;
static _Atomic uint64_t state;

enum count {
    SHORT_READS,
    SHORT_WRITES,
    INTERRUPTS,
    PUT_OFF,
    EDGES,
    ABORTED,
    PROTOCOL,
    BUFFERS,
    FILES,
    WAITS,
    COUNTS
};
static _Atomic unsigned long counts[COUNTS];
static const char *const names[COUNTS] = {
    "short_reads", "short_writes", "interrupts", "put_off", "edges",
    "aborted", "protocol", "buffers", "files", "waits",
};

static unsigned percentage(const char *name)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void begin(void)
{
    const char *seed = getenv("SHIM_SEED");
    state = seed ? strtoull(seed, NULL, 10) : 1;
    percent_short = percentage("SHIM_SHORT");
    percent_interrupt = percentage("SHIM_INTERRUPT");
    percent_again = percentage("SHIM_AGAIN");
    percent_accept = percentage("SHIM_ACCEPT");
    percent_wait = percentage("SHIM_WAIT");
    report_path = getenv("SHIM_REPORT");
}

__attribute__((destructor)) static void end(void)
{
    if (!report_path)
        return;
    FILE *report = fopen(report_path, "w");
    if (!report)
        return;
    for (int which = 0; which < COUNTS; which++)
        fprintf(report, "%s %lu\n", names[which], (unsigned long)counts[which]);
    fclose(report);
}

static unsigned below(unsigned bound)
{
    uint64_t before = atomic_load(&state), after;
    do
        after = before * 6364136223846793005u + 1442695040888963407u;
    while (!atomic_compare_exchange_weak(&state, &before, after));
    return (unsigned)(after >> 33) % bound;
}

static int happens(unsigned percent)
{
    return percent != 0 && below(100) < percent;
}

static int failure(int error, enum count which)
{
    counts[which]++;
    errno = error;
    return -1;
}

/* Whether it is a connection of the program with somebody else. errno stays. */
static int is_connection(int descriptor)
{
    int before = errno, value = 0, found = 0;
    socklen_t size = sizeof value;
    struct sockaddr_storage address;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &value, &size) == 0 && value == SOCK_STREAM) {
        size = sizeof value;
        int listens = getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) != 0 || value;
        socklen_t ours = sizeof address, theirs = sizeof address;
        if (!listens && getsockname(descriptor, (struct sockaddr *)&address, &ours) == 0) {
            int is_unix = address.ss_family == AF_UNIX;
            int stands = getpeername(descriptor, (struct sockaddr *)&address, &theirs) == 0;
            found = !is_unix || ours > sizeof(sa_family_t) || (stands && theirs > sizeof(sa_family_t));
        }
    }
    errno = before;
    return found;
}

static struct registration *registered(int descriptor)
{
    if (descriptor < 0 || descriptor >= DESCRIPTORS_MAX || registrations[descriptor].poll == 0)
        return NULL;
    return &registrations[descriptor];
}

static void give_an_edge(int descriptor)
{
    int before = errno;
    struct registration *entry = registered(descriptor);
    if (entry && syscall(SYS_epoll_ctl, entry->poll, EPOLL_CTL_MOD, descriptor, &entry->event) == 0)
        counts[EDGES]++;
    errno = before;
}

static void forget(int descriptor)
{
    if (descriptor >= 0 && descriptor < DESCRIPTORS_MAX)
        registrations[descriptor].poll = 0;
}

int epoll_ctl(int poll, int operation, int descriptor, struct epoll_event *event)
{
    long result = syscall(SYS_epoll_ctl, poll, operation, descriptor, event);
    if (result == 0 && operation == EPOLL_CTL_DEL) {
        forget(descriptor);
    } else if (result == 0 && descriptor < DESCRIPTORS_MAX) {
        registrations[descriptor].event = *event;
        registrations[descriptor].poll = poll;
    }
    return (int)result;
}

/* The kernel forgets a registration with the last descriptor of its file; the number may be anybody's
 * the moment it is closed. A copy of a descriptor is registered by a call of its own. */
int close(int descriptor)
{
    forget(descriptor);
    return (int)syscall(SYS_close, descriptor);
}

int dup3(int from, int to, int flags)
{
    if (from != to)
        forget(to);
    return (int)syscall(SYS_dup3, from, to, flags);
}

int dup2(int from, int to)
{
    return from == to ? (fcntl(from, F_GETFD) < 0 ? -1 : to) : dup3(from, to, 0);
}

/* What becomes of one read or write: so many bytes at most, or -1 with errno. */
static ssize_t verdict(int descriptor, size_t size)
{
    if (size == 0 || !is_connection(descriptor))
        return (ssize_t)size;
    if (happens(percent_interrupt))
        return failure(EINTR, INTERRUPTS);
    if (registered(descriptor) && happens(percent_again)) {
        give_an_edge(descriptor);
        return failure(EAGAIN, PUT_OFF);
    }
    if (!happens(percent_short))
        return (ssize_t)size;
    size_t piece = 1 + below(PIECE_MAX);
    return (ssize_t)(piece < size ? piece : size);
}

/* What the program is told of it: the edge, if it was given less than there was. */
static ssize_t outcome(int descriptor, size_t size, ssize_t allowed, ssize_t result, enum count which)
{
    if (result > 0 && (size_t)allowed < size && result == allowed) {
        counts[which]++;
        give_an_edge(descriptor);
    }
    return result;
}

static size_t length(const struct iovec *parts, size_t count)
{
    size_t total = 0;
    for (size_t at = 0; at < count; at++)
        total += parts[at].iov_len;
    return total;
}

/* The first `allowed` bytes of the parts, if that is fewer than all; otherwise the parts themselves. */
static const struct iovec *first(const struct iovec *parts, size_t *count, size_t allowed, struct iovec *room)
{
    if (allowed >= length(parts, *count))
        return parts;
    size_t used = 0;
    for (size_t at = 0; allowed > 0 && at < *count; at++) {
        size_t size = parts[at].iov_len < allowed ? parts[at].iov_len : allowed;
        if (size == 0)
            continue;
        room[used++] = (struct iovec){parts[at].iov_base, size};
        allowed -= size;
    }
    *count = used;
    return room;
}

ssize_t recv(int descriptor, void *buffer, size_t size, int flags)
{
    ssize_t allowed = flags & MSG_PEEK ? (ssize_t)size : verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    ssize_t result = syscall(SYS_recvfrom, descriptor, buffer, (size_t)allowed, flags, NULL, NULL);
    return outcome(descriptor, size, allowed, result, SHORT_READS);
}

ssize_t send(int descriptor, const void *buffer, size_t size, int flags)
{
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    ssize_t result = syscall(SYS_sendto, descriptor, buffer, (size_t)allowed, flags, NULL, 0);
    return outcome(descriptor, size, allowed, result, SHORT_WRITES);
}

ssize_t read(int descriptor, void *buffer, size_t size)
{
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    ssize_t result = syscall(SYS_read, descriptor, buffer, (size_t)allowed);
    return outcome(descriptor, size, allowed, result, SHORT_READS);
}

ssize_t write(int descriptor, const void *buffer, size_t size)
{
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    ssize_t result = syscall(SYS_write, descriptor, buffer, (size_t)allowed);
    return outcome(descriptor, size, allowed, result, SHORT_WRITES);
}

ssize_t readv(int descriptor, const struct iovec *parts, int count)
{
    struct iovec room[PIECE_MAX];
    size_t size = length(parts, (size_t)count), used = (size_t)count;
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    parts = first(parts, &used, (size_t)allowed, room);
    ssize_t result = syscall(SYS_readv, descriptor, parts, used);
    return outcome(descriptor, size, allowed, result, SHORT_READS);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    struct iovec room[PIECE_MAX];
    size_t size = length(parts, (size_t)count), used = (size_t)count;
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    parts = first(parts, &used, (size_t)allowed, room);
    ssize_t result = syscall(SYS_writev, descriptor, parts, used);
    return outcome(descriptor, size, allowed, result, SHORT_WRITES);
}

ssize_t recvmsg(int descriptor, struct msghdr *message, int flags)
{
    struct iovec room[PIECE_MAX], *parts = message->msg_iov;
    size_t count = message->msg_iovlen, size = length(parts, count);
    ssize_t allowed = flags & MSG_PEEK ? (ssize_t)size : verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    message->msg_iov = (struct iovec *)first(parts, &message->msg_iovlen, (size_t)allowed, room);
    ssize_t result = syscall(SYS_recvmsg, descriptor, message, flags);
    message->msg_iov = parts;
    message->msg_iovlen = count;
    return outcome(descriptor, size, allowed, result, SHORT_READS);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    struct iovec room[PIECE_MAX];
    struct msghdr copy = *message;
    size_t size = length(message->msg_iov, message->msg_iovlen);
    ssize_t allowed = verdict(descriptor, size);
    if (allowed < 0)
        return -1;
    copy.msg_iov = (struct iovec *)first(message->msg_iov, &copy.msg_iovlen, (size_t)allowed, room);
    ssize_t result = syscall(SYS_sendmsg, descriptor, &copy, flags);
    return outcome(descriptor, size, allowed, result, SHORT_WRITES);
}

int accept4(int descriptor, struct sockaddr *address, socklen_t *size, int flags)
{
    if (happens(percent_accept)) {
        static const int errors[] = {ECONNABORTED, EPROTO, ENOBUFS, ENFILE};
        unsigned which = below(4);
        return failure(errors[which], ABORTED + which);
    }
    return (int)syscall(SYS_accept4, descriptor, address, size, flags);
}

int accept(int descriptor, struct sockaddr *address, socklen_t *size)
{
    return accept4(descriptor, address, size, 0);
}

int epoll_pwait(int poll, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
    if (happens(percent_wait))
        return failure(EINTR, WAITS);
    return (int)syscall(SYS_epoll_pwait, poll, events, most, timeout, mask, KERNEL_SIGNAL_SET_SIZE);
}

int epoll_wait(int poll, struct epoll_event *events, int most, int timeout)
{
    return epoll_pwait(poll, events, most, timeout, NULL);
}
