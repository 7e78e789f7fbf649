/* Processes on the host that want a port of the guest: they write "CONNECT P\n", and read "OK N\n" once that is
 * connected.
 *
 * One that says nothing takes one of MAX_CALLERS places until others want it: the oldest gives way. What follows the
 * line belongs to the connection and is not read here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend.h"

void callers_prepare(struct backend *backend) {
    for (unsigned i = 0; i < MAX_CALLERS; i++) backend->callers[i].fd = -1;
}

unsigned callers_waiting(const struct backend *backend) {
    unsigned count = 0;
    for (unsigned i = 0; i < MAX_CALLERS; i++) count += backend->callers[i].fd >= 0;
    return count;
}

/* A free place, or the one of the caller that has said nothing for longest. */
static struct caller *place_for_caller(struct backend *backend) {
    struct caller *oldest = &backend->callers[0];
    for (unsigned i = 0; i < MAX_CALLERS; i++) {
        struct caller *caller = &backend->callers[i];
        if (caller->fd < 0) return caller;
        if (caller->since < oldest->since) oldest = caller;
    }
    close(oldest->fd);
    oldest->fd = -1;
    return oldest;
}

void callers_accept(struct backend *backend) {
    int fd = accept4(backend->hybrid_listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Without descriptors it would be tried again and again. */
        backend->is_paused = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
        return;
    }
    struct caller *caller = place_for_caller(backend);
    uint32_t generation = caller->generation + 1;
    if (!watch(backend, fd, EPOLLIN, tag(FROM_CALLER, (unsigned)(caller - backend->callers), generation))) {
        close(fd);
        return;
    }
    *caller = (struct caller){.fd = fd, .generation = generation, .since = ++backend->caller_count};
}

/* Reads the line up to its end and not further. 1: it is complete, 0: not yet, -1: it never will be. */
static int read_line(struct caller *caller) {
    char *end = caller->line + caller->length;
    size_t room = sizeof caller->line - caller->length;
    ssize_t count = recv(caller->fd, end, room, MSG_PEEK);
    if (count < 0 && errno == EINTR) return 0;
    /* Also where there is nothing to read (an urgent byte): it would be told of for ever. */
    if (count <= 0) return -1;
    char *newline = memchr(end, '\n', (size_t)count);
    size_t wanted = newline ? (size_t)(newline - end) + 1 : (size_t)count;
    if (recv(caller->fd, end, wanted, 0) != (ssize_t)wanted) return -1;
    caller->length += wanted;
    if (newline) return 1;
    return caller->length < sizeof caller->line ? 0 : -1;
}

/* The port that a line asks for; false when it makes no sense. */
static bool parse(const struct caller *caller, uint32_t *port) {
    static const char word[] = "CONNECT ";
    uint64_t number = 0;
    size_t at = sizeof word - 1, end = caller->length - 1;
    if (end > at && caller->line[end - 1] == '\r') end--;
    if (end <= at || memcmp(caller->line, word, at) != 0) return false;
    for (; at < end; at++) {
        unsigned digit = (unsigned)caller->line[at] - '0';
        if (digit > 9) return false;
        number = number * 10 + digit;
        if (number > UINT32_MAX) return false;
    }
    *port = (uint32_t)number;
    return true;
}

/* Passes a request on to the guest; false when that cannot be now. */
static bool connect_guest(struct backend *backend, int fd, uint32_t port) {
    struct ports ports = {.guest = port};
    if (!ring_is_on(&backend->rings[RX])) return false;
    do {
        ports.host = backend->next_port++;
        if (backend->next_port == UINT32_MAX) backend->next_port = 1U << 30;
    } while (connection_find(backend, ports));
    struct connection *connection = connection_add(backend, fd, ports);
    if (connection) owe(backend, connection, VIRTIO_VSOCK_OP_REQUEST);
    return connection != NULL;
}

void caller_event(struct backend *backend, uint32_t place, uint32_t generation) {
    uint32_t port;
    if (place >= MAX_CALLERS) return;
    struct caller *caller = &backend->callers[place];
    if (caller->fd < 0 || caller->generation != generation) return;
    int is_complete = read_line(caller);
    if (is_complete == 0) return;
    int fd = caller->fd;
    caller->fd = -1;
    /* From here on its events are a connection's. */
    epoll_ctl(backend->epoll, EPOLL_CTL_DEL, fd, NULL);
    if (is_complete < 0 || !parse(caller, &port) || !connect_guest(backend, fd, port)) close(fd);
}
