/* virtio-vsock for a QEMU guest without the kernel's vhost-vsock: a vhost-user backend in user space.
 *
 *     vsock-backend VHOST_SOCKET HYBRID_SOCKET GUEST_CID
 *
 * QEMU's vhost-user-vsock-pci connects to VHOST_SOCKET. The guest's AF_VSOCK appears on Unix sockets, named as
 * Firecracker and Cloud Hypervisor name them:
 *
 *     guest → host port P    connects to HYBRID_SOCKET_P
 *     host → guest port P    connect to HYBRID_SOCKET, write "CONNECT P\n", read "OK N\n"
 *
 * Theory of operation. One thread, one epoll. A turn of the loop hears what there is to hear, then takes all packets
 * of the guest (from-guest.c), then fills its receive buffers (to-guest.c): what a kick brings is in the Unix socket
 * before the loop sleeps again. Bytes are copied by the kernel only, between the Unix sockets and the guest's memory,
 * which is mapped here; except those that a Unix socket does not take at once.
 *
 * Nothing here grows with what a peer sends:
 *
 *   guest → host   the guest is promised WINDOW bytes per connection, and they count as forwarded only when the Unix
 *                  socket took them. What it did not take is copied to the connection's backlog, of WINDOW bytes at
 *                  most and in one piece. One reader that stops holds up itself only. All backlogs together have
 *                  ALL_BACKLOGS: a connection that needs more is reset
 *   host → guest   a Unix socket is read only when the guest has a free receive buffer and gave credit, right into
 *                  that buffer; what waits otherwise stays in the Unix socket
 *   control        a connection owes the guest each kind of packet at most once; resets for connections that are not
 *                  there are MAX_STRAYS at most, of which the oldest give way
 *   places         connections, callers and the one message of QEMU are in tables of a fixed size
 *
 * The guest is not trusted, and may change its memory while it is read: descriptors and headers are copied, then
 * checked. What makes no sense in its rings, or in QEMU's messages, resets the device and lets QEMU go; it may connect
 * again. A packet that makes no sense resets its connection. Work per turn is bounded (TURN), so that no side keeps the
 * other waiting. Whatever is over may have events in the same turn: they carry a generation that nobody has any more.
 *
 * SIGUSR1 writes to the log what goes on. Specification: virtio 1.2 §5.10 (socket device).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend.h"

enum { EVENTS = 128, OTHER_DESCRIPTORS = 64, PAUSE_MS = 100, LONGEST_SUFFIX = 11 /* _4294967295 */ };

static struct backend backend;

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

bool watch(struct backend *of, int fd, uint32_t events, uint64_t with) {
    struct epoll_event event = {.events = events, .data.u64 = with};
    return epoll_ctl(of->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void lose_qemu(struct backend *of, const char *why) {
    say("%s", why);
    qemu_forget(of);
}

static void lose_guest(struct backend *of, const char *why) {
    say("the guest makes no sense: %s", why);
    qemu_forget(of);
}

static void tell_connection(const struct connection *connection) {
    say("%u/%u:%s%s%s%s%s%s%s; window %u, sent %u of which forwarded %u; received %u, forwarded %u, reported %u, "
        "kept %zu; owed %#x",
        connection->ports.guest, connection->ports.host, connection->is_open ? " open" : "",
        connection->is_readable ? " readable" : "", connection->host_ended ? " host-ended" : "",
        connection->guest_ended ? " guest-ended" : "", connection->is_closing ? " closing" : "",
        connection->is_hung_up ? " hung-up" : "", connection->is_busy ? " busy" : "", connection->guest_window,
        connection->sent, connection->guest_forwarded, connection->received, connection->forwarded,
        connection->reported, connection->backlog.length, connection->owed);
}

static void tell_ring(unsigned index, const struct ring *ring) {
    if (!ring_is_on(ring)) {
        say("ring %u: off", index);
        return;
    }
    uint16_t waiting = (uint16_t)ring_waiting(&backend.rings[index]);
    say("ring %u: %u offered and not taken; %u taken, %u published, of %u; guest notified %llu times%s", index, waiting,
        ring->taken, ring->published, ring->size, (unsigned long long)ring->notified,
        ring->is_armed ? "; to be told of more" : "");
}

/* Logs what goes on: the rings, and the first connections. */
static void tell(void) {
    unsigned told = 0;
    say("asked for its state: features %#llx", (unsigned long long)backend.features);
    for (unsigned i = 0; i < RINGS; i++) tell_ring(i, &backend.rings[i]);
    say("%u connections, %u callers, %u busy, %u strays, %zu bytes of backlogs", backend.connection_count,
        callers_waiting(&backend), backend.busy, backend.stray_count, backend.backlog_bytes);
    for (unsigned i = 0; i < MAX_CONNECTIONS && told < 32; i++) {
        if (backend.connections[i].fd < 0) continue;
        tell_connection(&backend.connections[i]);
        told++;
    }
}

static void hear_signal(int fd) {
    struct signalfd_siginfo signal;
    if (read(fd, &signal, sizeof signal) == sizeof signal) tell();
}

static void serve_qemu(uint32_t generation) {
    if (backend.qemu < 0 || backend.qemu_generation != generation) return;
    const char *problem = qemu_serve(&backend);
    if (problem) lose_qemu(&backend, problem);
}

static void serve_connection(uint32_t place, uint32_t generation, uint32_t events) {
    struct connection *connection = connection_at(&backend, place, generation);
    if (connection) connection_event(&backend, connection, events);
}

static void hear(const struct epoll_event *event, int signals) {
    uint32_t generation = (uint32_t)(event->data.u64 >> 32), place = (uint32_t)event->data.u64 >> 8;
    switch ((enum source)(event->data.u64 & 0xff)) {
        case FROM_VHOST_LISTENER: qemu_meet(&backend); break;
        case FROM_HYBRID_LISTENER: callers_accept(&backend); break;
        case FROM_SIGNAL: hear_signal(signals); break;
        case FROM_QEMU: serve_qemu(generation); break;
        case FROM_KICK: break; /* each turn looks at the rings */
        case FROM_CALLER: caller_event(&backend, place, generation); break;
        case FROM_CONNECTION: serve_connection(place, generation, event->events); break;
    }
}

static void listen_to_callers(bool is_wanted) {
    struct epoll_event event = {.events = is_wanted ? EPOLLIN : 0, .data.u64 = tag(FROM_HYBRID_LISTENER, 0, 0)};
    epoll_ctl(backend.epoll, EPOLL_CTL_MOD, backend.hybrid_listener, &event);
}

static void turn(int signals) {
    struct epoll_event events[EVENTS];
    bool was_paused = backend.is_paused;
    int patience = backend.has_more ? 0 : was_paused ? PAUSE_MS : -1;
    int count = epoll_wait(backend.epoll, events, EVENTS, patience);
    backend.has_more = backend.is_paused = false;
    if (was_paused) listen_to_callers(true);
    for (int i = 0; i < count; i++) hear(&events[i], signals);
    if (backend.is_paused) listen_to_callers(false);
    const char *problem = take_packets(&backend);
    if (!problem) problem = fill_buffers(&backend);
    if (memory_is_lost) {
        lose_qemu(&backend, "QEMU makes no sense: its memory became smaller");
    } else if (problem) {
        lose_guest(&backend, problem);
    }
}

/* A listening socket of our user's. */
static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path - LONGEST_SUFFIX) {
        say("vsock-backend: %s: expected a path of at most %zu bytes, as a socket's name has no room for more", path,
            sizeof address.sun_path - LONGEST_SUFFIX - 1);
        exit(2);
    }
    strcpy(address.sun_path, path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177);
    bool is_bound = fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0;
    umask(before);
    if (is_bound) return fd;
    say("vsock-backend: cannot listen at %s: %s", path, strerror(errno));
    exit(1);
}

/* How many connections there may be: each takes a descriptor. */
static unsigned most_connections(void) {
    struct rlimit limit;
    const rlim_t others = OTHER_DESCRIPTORS + MAX_CALLERS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return MAX_CONNECTIONS / 8;
    limit.rlim_cur = limit.rlim_max < MAX_CONNECTIONS + others ? limit.rlim_max : MAX_CONNECTIONS + others;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur <= others) return 1;
    return (unsigned)(limit.rlim_cur - others);
}

static uint64_t guest_cid(const char *text) {
    char *end;
    errno = 0;
    unsigned long long cid = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0 && cid > HOST_CID && cid < UINT32_MAX) return cid;
    say("vsock-backend: %s: expected a guest's CID, a number from 3 to 4294967294", text);
    exit(2);
}

static int signals_to_hear(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(int count, char **arguments) {
    if (count != 4) {
        say("usage: vsock-backend VHOST_SOCKET HYBRID_SOCKET GUEST_CID");
        return 2;
    }
    backend.cid = guest_cid(arguments[3]);
    backend.hybrid_path = arguments[2];
    backend.vhost_listener = listen_at(arguments[1]);
    backend.hybrid_listener = listen_at(arguments[2]);
    backend.qemu = -1;
    backend.epoll = epoll_create1(EPOLL_CLOEXEC);
    int signals = signals_to_hear();
    for (unsigned i = 0; i < RINGS; i++) ring_reset(&backend.rings[i]);
    connections_prepare(&backend, most_connections());
    callers_prepare(&backend);
    memory_survive_truncation(&backend.memory);
    if (!watch(&backend, backend.vhost_listener, EPOLLIN, tag(FROM_VHOST_LISTENER, 0, 0)) ||
        !watch(&backend, backend.hybrid_listener, EPOLLIN, tag(FROM_HYBRID_LISTENER, 0, 0)) ||
        !watch(&backend, signals, EPOLLIN, tag(FROM_SIGNAL, 0, 0))) {
        say("vsock-backend: epoll: %s", strerror(errno));
        return 1;
    }
    say("ready");
    for (;;) turn(signals);
}
