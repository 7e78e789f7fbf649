/* Connections: their places, and the events of their Unix sockets.
 *
 * Unix sockets are edge-triggered: `is_readable` says what the kernel said last. It tells of room only while there is a
 * backlog: otherwise each read of the other side would wake this program up.
 */
#define _GNU_SOURCE
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend.h"

enum { BUCKET_BITS = 12, FIRST_BURST = 2, FIRST_PORT = 1 << 30 };
_Static_assert(1 << BUCKET_BITS == MAX_CONNECTIONS, "a bucket for each connection");

static const uint32_t always = EPOLLIN | EPOLLRDHUP | EPOLLET;

void connections_prepare(struct backend *backend, unsigned most) {
    /* Which ports share a bucket is nothing that a guest could know. */
    if (getrandom(&backend->seed, sizeof backend->seed, 0) != sizeof backend->seed) backend->seed = (uintptr_t)backend;
    backend->seed |= 1;
    backend->most_connections = most;
    backend->next_port = FIRST_PORT;
    backend->round = 1;
    for (unsigned i = MAX_CONNECTIONS; i-- > 0;) {
        backend->connections[i].fd = -1;
        backend->connections[i].next_in_bucket = backend->free;
        backend->free = &backend->connections[i];
    }
}

static struct connection **bucket_of(struct backend *backend, struct ports ports) {
    uint64_t key = (uint64_t)ports.guest << 32 | ports.host;
    key = (key ^ key >> 29) * backend->seed;
    return &backend->buckets[key >> (64 - BUCKET_BITS)];
}

struct connection *connection_find(struct backend *backend, struct ports ports) {
    struct connection *found = *bucket_of(backend, ports);
    while (found && (found->ports.guest != ports.guest || found->ports.host != ports.host)) {
        found = found->next_in_bucket;
    }
    return found;
}

static unsigned place_of(const struct backend *backend, const struct connection *connection) {
    return (unsigned)(connection - backend->connections);
}

static uint64_t tag_of(const struct backend *backend, const struct connection *connection) {
    return tag(FROM_CONNECTION, place_of(backend, connection), connection->generation);
}

struct connection *connection_add(struct backend *backend, int fd, struct ports ports) {
    struct connection *connection = backend->free;
    if (!connection || backend->connection_count >= backend->most_connections) return NULL;
    if (!watch(backend, fd, always, tag(FROM_CONNECTION, place_of(backend, connection), connection->generation + 1))) {
        return NULL;
    }
    backend->free = connection->next_in_bucket;
    backend->connection_count++;
    struct connection **bucket = bucket_of(backend, ports);
    *connection = (struct connection){
        .ports = ports,
        .generation = connection->generation + 1,
        .fd = fd,
        .next_in_bucket = *bucket,
        .burst = FIRST_BURST,
    };
    *bucket = connection;
    return connection;
}

struct connection *connection_at(struct backend *backend, uint32_t place, uint32_t generation) {
    if (place >= MAX_CONNECTIONS) return NULL;
    struct connection *connection = &backend->connections[place];
    return connection->fd >= 0 && connection->generation == generation ? connection : NULL;
}

static void leave_queue(struct backend *backend, struct connection *connection) {
    struct connection *before = NULL;
    if (!connection->is_busy) return;
    for (struct connection *at = backend->first_busy; at != connection; at = at->next_busy) before = at;
    if (before) {
        before->next_busy = connection->next_busy;
    } else {
        backend->first_busy = connection->next_busy;
    }
    if (backend->last_busy == connection) backend->last_busy = before;
    backend->busy--;
    connection->is_busy = false;
}

void connection_drop(struct backend *backend, struct connection *connection) {
    if (connection->fd < 0) return;
    struct connection **at = bucket_of(backend, connection->ports);
    while (*at != connection) at = &(*at)->next_in_bucket;
    *at = connection->next_in_bucket;
    leave_queue(backend, connection);
    backlog_clear(backend, &connection->backlog);
    if (backend->batch.to == connection) backend->batch.to = NULL;
    close(connection->fd);
    connection->fd = -1;
    connection->next_in_bucket = backend->free;
    backend->free = connection;
    backend->connection_count--;
}

void connection_reset(struct backend *backend, struct connection *connection) {
    if (connection->fd < 0) return;
    owe_reset(backend, connection->ports);
    connection_drop(backend, connection);
}

void connections_drop_all(struct backend *backend) {
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        if (backend->connections[i].fd >= 0) connection_drop(backend, &backend->connections[i]);
    }
    backend->stray_count = 0;
}

int connection_dial(struct backend *backend, uint32_t port) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path, sizeof address.sun_path, "%s_%u", backend->hybrid_path, port);
    if (length < 0 || (size_t)length >= sizeof address.sun_path) return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

void connection_watch_room(struct backend *backend, struct connection *connection, bool is_wanted) {
    struct epoll_event event = {.events = always, .data.u64 = tag_of(backend, connection)};
    if (is_wanted) event.events |= EPOLLOUT;
    epoll_ctl(backend->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

void connection_event(struct backend *backend, struct connection *connection, uint32_t events) {
    uint32_t generation = connection->generation;
    /* An error is met by reading, behind the bytes that came before it. */
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) connection->is_readable = true;
    if (events & EPOLLOUT && connection->backlog.length > 0) flush(backend, connection);
    if (connection->fd < 0 || connection->generation != generation) return;
    /* Who asked for the guest's port may have gone before the guest answered, if it ever does. */
    if (events & (EPOLLHUP | EPOLLERR) && !connection->is_open) return connection_reset(backend, connection);
    if (events & EPOLLHUP) {
        connection->is_hung_up = true;
        uint32_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
        if (connection->host_ended) owe_shutdown(backend, connection, both);
    }
    mark_busy(backend, connection);
}
