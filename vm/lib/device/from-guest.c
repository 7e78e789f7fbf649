/* The guest → the Unix sockets.
 *
 * 1  take_packets   takes chains as long as the guest offers any, at most TURN before the others have theirs
 * 2  perform        copies the header out of the guest's memory once, and does what it says
 * 3  guest_sends    adds the bytes, where they lie, to `batch`, while they are for the same connection
 * 4  send_batch     one sendmsg for all of them, right from the guest's memory; what is not taken goes to the backlog
 * 5  ring_publish   the guest gets its buffers back, all of a batch at once, and is told once
 *
 * A batch is written before anything else is done to a connection, and before the guest gets its buffers back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend.h"

enum { TURN = 256 };

/* What is for the Unix socket and not taken yet is gone, now or later: ends what is to end after it. */
static void end_when_flushed(struct backend *backend, struct connection *connection) {
    if (connection->is_closing) {
        connection_reset(backend, connection);
    } else if (connection->guest_ended && !connection->is_shut) {
        connection->is_shut = true;
        shutdown(connection->fd, SHUT_WR);
    }
}

/* The guest may send on while it has half of its window. It learns of more with every packet, or by one for that. */
static void report_window(struct backend *backend, struct connection *connection) {
    uint32_t unknown = connection->forwarded - connection->reported;
    uint32_t used = connection->received - connection->reported;
    if (unknown >= WINDOW / 4 && used >= WINDOW / 2) owe(backend, connection, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

/* Nobody takes the guest's bytes any more, but what the reader wrote before it went is the guest's still: they count as
 * taken, and the guest learns it with the end. How many they are. */
static ssize_t lose_pieces(struct backend *backend, struct connection *connection, const struct iovec *pieces,
                           size_t count) {
    ssize_t bytes = 0;
    for (size_t i = 0; i < count; i++) bytes += (ssize_t)pieces[i].iov_len;
    connection->is_readable = true;
    owe_shutdown(backend, connection, VIRTIO_VSOCK_SHUTDOWN_RCV);
    return bytes;
}

/* Writes pieces; how many bytes were taken, or -1 when nobody will take any more. */
static ssize_t write_pieces(struct backend *backend, struct connection *connection, struct iovec *pieces,
                            size_t count) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t taken = sendmsg(connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)) taken = 0;
    if (taken < 0 && (errno == EPIPE || errno == ECONNRESET) && !connection->host_ended) {
        taken = lose_pieces(backend, connection, pieces, count);
    }
    if (taken > 0) connection->forwarded += (uint32_t)taken;
    return taken;
}

void flush(struct backend *backend, struct connection *connection) {
    struct iovec pieces[2];
    unsigned count = backlog_pieces(&connection->backlog, pieces);
    if (count > 0) {
        ssize_t taken = write_pieces(backend, connection, pieces, count);
        if (taken < 0) return connection_reset(backend, connection);
        backlog_remove(backend, &connection->backlog, (size_t)taken);
        report_window(backend, connection);
        if (connection->backlog.length > 0) return;
        connection_watch_room(backend, connection, false);
    }
    end_when_flushed(backend, connection);
}

/* Copies what is left of a batch to the backlog. */
static bool keep_rest(struct backend *backend, const struct batch *batch, size_t taken) {
    for (unsigned i = 0; i < batch->count; i++) {
        const struct iovec *part = &batch->parts[i];
        size_t skipped = taken < part->iov_len ? taken : part->iov_len;
        const unsigned char *rest = (const unsigned char *)part->iov_base + skipped;
        taken -= skipped;
        if (!backlog_add(backend, &batch->to->backlog, rest, part->iov_len - skipped)) return false;
    }
    return true;
}

static void send_batch(struct backend *backend) {
    struct batch *batch = &backend->batch;
    struct connection *connection = batch->to;
    if (!connection) return;
    ssize_t taken = write_pieces(backend, connection, batch->parts, batch->count);
    bool is_good = taken >= 0;
    if (is_good && (size_t)taken < batch->bytes) {
        is_good = keep_rest(backend, batch, (size_t)taken);
        if (is_good) connection_watch_room(backend, connection, true);
    }
    batch->to = NULL;
    if (!is_good) return connection_reset(backend, connection);
    report_window(backend, connection);
}

/* The part of a chain's buffers that is behind the header, `length` bytes of it: to the batch, or the backlog. */
static bool add_bytes(struct backend *backend, struct connection *connection, const struct chain *chain,
                      size_t length) {
    struct batch *batch = &backend->batch;
    size_t skip = sizeof(struct packet);
    for (unsigned i = 0; i < chain->count && length > 0; i++) {
        struct iovec part = chain->parts[i];
        size_t skipped = skip < part.iov_len ? skip : part.iov_len;
        skip -= skipped;
        part.iov_base = (unsigned char *)part.iov_base + skipped;
        part.iov_len -= skipped;
        if (part.iov_len > length) part.iov_len = length;
        length -= part.iov_len;
        if (part.iov_len == 0) continue;
        if (connection->backlog.length > 0) {
            if (!backlog_add(backend, &connection->backlog, part.iov_base, part.iov_len)) return false;
        } else {
            if (!batch->to) batch->count = 0, batch->bytes = 0;
            batch->to = connection;
            batch->parts[batch->count++] = part;
            batch->bytes += part.iov_len;
        }
    }
    return true;
}

static void guest_sends(struct backend *backend, struct connection *connection, const struct packet *packet,
                        const struct chain *chain) {
    struct batch *batch = &backend->batch;
    if (batch->to != connection || batch->count > MOST_PARTS - MAX_PARTS) send_batch(backend);
    if (connection->fd < 0) return;
    uint32_t unsent = connection->received - connection->forwarded;
    bool is_nonsense = packet->length > chain->length - sizeof *packet;
    is_nonsense = is_nonsense || !connection->is_open || connection->guest_ended;
    /* More than it was promised is nonsense, too. */
    if (is_nonsense || unsent > WINDOW || packet->length > WINDOW - unsent) {
        send_batch(backend);
        return connection_reset(backend, connection);
    }
    connection->received += packet->length;
    if (!add_bytes(backend, connection, chain, packet->length)) connection_reset(backend, connection);
}

static void guest_shuts(struct backend *backend, struct connection *connection, uint32_t flags) {
    if (!connection->is_open) return connection_reset(backend, connection);
    if (flags & VIRTIO_VSOCK_SHUTDOWN_SEND) connection->guest_ended = true;
    if (flags & VIRTIO_VSOCK_SHUTDOWN_RCV) {
        connection->host_ended = true;
        /* Who writes there is not to wait for a reader that will never come. */
        shutdown(connection->fd, SHUT_RD);
    }
    if (connection->guest_ended && connection->host_ended) connection->is_closing = true;
    flush(backend, connection);
}

static void guest_connects(struct backend *backend, struct ports ports, const struct packet *packet) {
    struct connection *connection = NULL;
    int fd = -1;
    struct connection *old = connection_find(backend, ports);
    /* One side thinks that it is over: so it is, for both. */
    if (old) return connection_reset(backend, old);
    if (backend->connection_count < backend->most_connections) {
        fd = connection_dial(backend, ports.host);
    }
    if (fd >= 0) connection = connection_add(backend, fd, ports);
    if (!connection) {
        if (fd >= 0) close(fd);
        return owe_reset(backend, ports);
    }
    connection->guest_window = packet->window;
    connection->guest_forwarded = packet->forwarded;
    connection->is_open = true;
    owe(backend, connection, VIRTIO_VSOCK_OP_RESPONSE);
}

/* Tells who asked for the guest's port. The line is ours, not the guest's: it is no part of what it has sent. */
static void guest_accepts(struct backend *backend, struct connection *connection) {
    char line[32];
    if (connection->is_open) return;
    connection->is_open = true;
    int length = snprintf(line, sizeof line, "OK %u\n", connection->ports.host);
    if (send(connection->fd, line, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) != length) {
        connection_reset(backend, connection);
    }
}

static void perform_known(struct backend *backend, struct connection *connection, const struct packet *packet) {
    switch (packet->operation) {
        case VIRTIO_VSOCK_OP_RESPONSE: guest_accepts(backend, connection); break;
        case VIRTIO_VSOCK_OP_RST:
            /* After its shutdown Linux waits for ours for 8 s only. What it sent before is its reader's still. */
            if (connection->is_closing && connection->backlog.length > 0) break;
            connection_drop(backend, connection);
            break;
        case VIRTIO_VSOCK_OP_SHUTDOWN: guest_shuts(backend, connection, packet->flags); break;
        case VIRTIO_VSOCK_OP_CREDIT_UPDATE: break;
        case VIRTIO_VSOCK_OP_CREDIT_REQUEST: owe(backend, connection, VIRTIO_VSOCK_OP_CREDIT_UPDATE); break;
        default: connection_reset(backend, connection); break;
    }
}

static void perform(struct backend *backend, const struct packet *packet, const struct chain *chain) {
    struct ports ports = {.guest = packet->source_port, .host = packet->destination_port};
    bool is_ours = packet->source == backend->cid && packet->destination == HOST_CID &&
                   packet->type == VIRTIO_VSOCK_TYPE_STREAM;
    bool is_bytes = packet->operation == VIRTIO_VSOCK_OP_RW;
    if (!is_ours || !is_bytes) send_batch(backend);
    if (is_ours && packet->operation == VIRTIO_VSOCK_OP_REQUEST) return guest_connects(backend, ports, packet);
    struct connection *connection = is_ours ? connection_find(backend, ports) : NULL;
    if (!connection) {
        if (packet->operation != VIRTIO_VSOCK_OP_RST) owe_reset(backend, ports);
        return;
    }
    connection->guest_window = packet->window;
    connection->guest_forwarded = packet->forwarded;
    if (is_bytes) {
        guest_sends(backend, connection, packet, chain);
    } else {
        perform_known(backend, connection, packet);
    }
    mark_busy(backend, connection);
}

/* The header's copy, which the guest does not change; false when the chain is shorter. */
static bool copy_header(const struct chain *chain, struct packet *packet) {
    size_t have = 0;
    for (unsigned i = 0; i < chain->count && have < sizeof *packet; i++) {
        size_t left = sizeof *packet - have;
        size_t count = chain->parts[i].iov_len < left ? chain->parts[i].iov_len : left;
        memcpy((unsigned char *)packet + have, chain->parts[i].iov_base, count);
        have += count;
    }
    __asm__ volatile("" ::: "memory");
    return have == sizeof *packet;
}

/* Takes up to `count` chains. */
static bool take_some(struct backend *backend, struct ring *ring, unsigned count) {
    struct iovec parts[MAX_PARTS];
    struct chain chain = {.parts = parts};
    struct packet packet;
    bool is_good = true;
    while (is_good && count-- > 0) {
        is_good = ring_take(ring, &backend->memory, false, &chain);
        if (!is_good) break;
        if (copy_header(&chain, &packet)) perform(backend, &packet, &chain);
        ring_push(ring, chain.head, 0);
    }
    send_batch(backend);
    ring_publish(ring);
    return is_good;
}

const char *take_packets(struct backend *backend) {
    struct ring *ring = &backend->rings[TX];
    unsigned left = TURN;
    while (ring_is_on(ring)) {
        int waiting = ring_waiting(ring);
        if (waiting < 0) return ring->problem;
        if (waiting == 0) {
            if (!ring_arm(ring)) break;
            continue;
        }
        if (left == 0) {
            backend->has_more = true;
            break;
        }
        unsigned count = (unsigned)waiting < left ? (unsigned)waiting : left;
        if (!take_some(backend, ring, count)) return ring->problem;
        left -= count;
    }
    return NULL;
}
