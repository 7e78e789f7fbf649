/* The Unix sockets → the guest.
 *
 * A connection with something for the guest is `busy`: it owes an answer, or its Unix socket has bytes and the guest
 * gave credit for some. Those wait in a queue, each once, and are served in turn while the guest has free buffers:
 *
 * 1  fill_buffers   takes the next of them, and a fair share of the buffers
 * 2  read_socket    one readv into as many of the guest's buffers as the connection filled of late, and one more; Linux
 *                   6.1 offers buffers of 4 KiB, so that bulk fills many at a time
 * 3  fill_headers   a header in front of each part; buffers that stayed empty are given back
 * 4  ring_publish   what a round through the queue filled becomes visible at once, and the guest is told once
 *
 * What waits otherwise stays in the Unix sockets. A round ends before a connection is served for the second time, so
 * that the read that finds nothing any more costs the guest no time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"

enum { TURN = 512, MOST_SLOTS = 128 };

/* A receive buffer of the guest's, taken and not yet filled. */
struct slot {
    struct chain chain;
    size_t room; /* bytes behind the header that may be read into it */
};

/* How many bytes the Unix socket may have for the guest, as it has room for them; 0 when there are none. */
static size_t readable_bytes(const struct connection *connection) {
    uint32_t on_the_way = connection->sent - connection->guest_forwarded;
    if (!connection->is_open || !connection->is_readable || connection->host_ended) return 0;
    return connection->guest_window > on_the_way ? connection->guest_window - on_the_way : 0;
}

void mark_busy(struct backend *backend, struct connection *connection) {
    if (connection->fd < 0 || connection->is_busy || (connection->owed == 0 && readable_bytes(connection) == 0)) return;
    connection->is_busy = true;
    connection->next_busy = NULL;
    if (backend->last_busy) {
        backend->last_busy->next_busy = connection;
    } else {
        backend->first_busy = connection;
    }
    backend->last_busy = connection;
    backend->busy++;
}

static struct connection *next_busy(struct backend *backend) {
    struct connection *connection = backend->first_busy;
    backend->first_busy = connection->next_busy;
    if (!backend->first_busy) backend->last_busy = NULL;
    backend->busy--;
    connection->is_busy = false;
    return connection;
}

void owe(struct backend *backend, struct connection *connection, unsigned operation) {
    connection->owed |= 1U << operation;
    mark_busy(backend, connection);
}

void owe_shutdown(struct backend *backend, struct connection *connection, uint32_t flags) {
    connection->owed_flags |= flags;
    owe(backend, connection, VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* The oldest gives way to one too many. */
void owe_reset(struct backend *backend, struct ports ports) {
    if (backend->stray_count == MAX_STRAYS) {
        backend->first_stray = (backend->first_stray + 1) % MAX_STRAYS;
        backend->stray_count--;
    }
    backend->strays[(backend->first_stray + backend->stray_count++) % MAX_STRAYS] = ports;
}

/* A header, into a chain that is long enough. */
static void put_header(const struct chain *chain, const struct packet *packet) {
    size_t done = 0;
    for (unsigned i = 0; i < chain->count && done < sizeof *packet; i++) {
        size_t left = sizeof *packet - done;
        size_t count = chain->parts[i].iov_len < left ? chain->parts[i].iov_len : left;
        memcpy(chain->parts[i].iov_base, (const unsigned char *)packet + done, count);
        done += count;
    }
}

static struct packet header(const struct backend *backend, struct ports ports, unsigned operation) {
    return (struct packet){
        .source = HOST_CID,
        .destination = backend->cid,
        .source_port = ports.host,
        .destination_port = ports.guest,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .operation = (uint16_t)operation,
        .window = WINDOW,
    };
}

/* A connection's header says how much of its bytes was forwarded, so that nothing is owed about that. */
static struct packet connection_header(const struct backend *backend, struct connection *connection,
                                       unsigned operation) {
    struct packet packet = header(backend, connection->ports, operation);
    packet.forwarded = connection->reported = connection->forwarded;
    connection->owed &= ~(1U << VIRTIO_VSOCK_OP_CREDIT_UPDATE | 1U << operation);
    return packet;
}

static bool take_buffer(struct backend *backend, struct chain *chain) {
    struct ring *ring = &backend->rings[RX];
    if (!ring_take(ring, &backend->memory, true, chain)) return false;
    if (chain->length > sizeof(struct packet)) return true;
    ring->problem = "a receive buffer without room for more than a header";
    return false;
}

/* One packet without bytes. */
static bool emit(struct backend *backend, const struct packet *packet) {
    struct iovec parts[MAX_PARTS];
    struct chain chain = {.parts = parts};
    if (!take_buffer(backend, &chain)) return false;
    put_header(&chain, packet);
    ring_push(&backend->rings[RX], chain.head, sizeof *packet);
    return true;
}

static bool emit_stray(struct backend *backend) {
    struct packet packet = header(backend, backend->strays[backend->first_stray], VIRTIO_VSOCK_OP_RST);
    backend->first_stray = (backend->first_stray + 1) % MAX_STRAYS;
    backend->stray_count--;
    return emit(backend, &packet);
}

static bool emit_owed(struct backend *backend, struct connection *connection) {
    static const unsigned in_order[] = {
        VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_OP_CREDIT_UPDATE};
    unsigned i = 0;
    while (!(connection->owed & 1U << in_order[i])) i++;
    struct packet packet = connection_header(backend, connection, in_order[i]);
    if (in_order[i] == VIRTIO_VSOCK_OP_SHUTDOWN) packet.flags = connection->owed_flags;
    return emit(backend, &packet);
}

/* The slots for one read, and where it puts the bytes. */
struct slots {
    unsigned count, pieces, parts;
    struct slot all[MOST_SLOTS];
    struct iovec into[MOST_PARTS], part[MOST_PARTS];
};

/* Where the bytes of a slot go: its buffers behind the header, `most` bytes of them. */
static void add_room(struct slots *slots, struct slot *slot, size_t most) {
    size_t skip = sizeof(struct packet);
    slot->room = 0;
    for (unsigned i = 0; i < slot->chain.count && slot->room < most; i++) {
        struct iovec part = slot->chain.parts[i];
        size_t skipped = skip < part.iov_len ? skip : part.iov_len;
        skip -= skipped;
        part.iov_base = (unsigned char *)part.iov_base + skipped;
        part.iov_len -= skipped;
        if (part.iov_len > most - slot->room) part.iov_len = most - slot->room;
        if (part.iov_len == 0) continue;
        slots->into[slots->pieces++] = part;
        slot->room += part.iov_len;
    }
}

/* Takes up to `most` buffers of the guest's, for up to `credit` bytes. */
static bool take_slots(struct backend *backend, struct slots *slots, unsigned most, size_t credit) {
    slots->count = slots->pieces = slots->parts = 0;
    while (slots->count < most && credit > 0 && slots->parts + MAX_PARTS <= MOST_PARTS) {
        struct slot *slot = &slots->all[slots->count];
        slot->chain.parts = &slots->part[slots->parts];
        if (!take_buffer(backend, &slot->chain)) return false;
        add_room(slots, slot, credit);
        slots->parts += slot->chain.count;
        credit -= slot->room;
        slots->count++;
    }
    return true;
}

/* Puts a header in front of what was read, and gives back what stayed empty. */
static void fill_headers(struct backend *backend, struct connection *connection, struct slots *slots, size_t count) {
    unsigned filled = 0;
    connection->sent += (uint32_t)count;
    for (; count > 0; filled++) {
        struct slot *slot = &slots->all[filled];
        size_t bytes = count < slot->room ? count : slot->room;
        struct packet packet = connection_header(backend, connection, VIRTIO_VSOCK_OP_RW);
        packet.length = (uint32_t)bytes;
        put_header(&slot->chain, &packet);
        ring_push(&backend->rings[RX], slot->chain.head, (uint32_t)(sizeof packet + bytes));
        count -= bytes;
    }
    ring_untake(&backend->rings[RX], slots->count - filled);
    if (filled < slots->count) {
        connection->burst = filled + 1;
    } else if (filled >= connection->burst) {
        connection->burst = filled < MOST_SLOTS / 2 ? filled * 2 : MOST_SLOTS;
    }
}

/* The Unix socket has nothing now, has ended, or is broken. */
static void read_nothing(struct backend *backend, struct connection *connection, bool has_ended, int error) {
    if (has_ended) {
        connection->host_ended = true;
        uint32_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
        owe_shutdown(backend, connection, connection->is_hung_up ? both : VIRTIO_VSOCK_SHUTDOWN_SEND);
    } else if (error == EAGAIN || error == EINTR) {
        connection->is_readable = error == EINTR;
    } else {
        connection_reset(backend, connection);
    }
}

static bool read_socket(struct backend *backend, struct connection *connection, unsigned buffers, size_t credit) {
    static struct slots slots;
    unsigned fair = buffers / (backend->busy + 1);
    unsigned most = connection->burst < fair ? connection->burst : fair;
    if (!take_slots(backend, &slots, most > 0 ? most : 1, credit)) return false;
    ssize_t count = readv(connection->fd, slots.into, (int)slots.pieces);
    if (count > 0) {
        fill_headers(backend, connection, &slots, (size_t)count);
    } else {
        ring_untake(&backend->rings[RX], slots.count);
        read_nothing(backend, connection, count == 0, errno);
    }
    return true;
}

/* Answers first, then bytes. */
static bool serve(struct backend *backend, struct connection *connection, unsigned buffers) {
    const uint32_t said_by_bytes = 1U << VIRTIO_VSOCK_OP_CREDIT_UPDATE;
    size_t most = readable_bytes(connection);
    bool is_good = true;
    if (connection->owed & ~said_by_bytes || (connection->owed && most == 0)) {
        is_good = emit_owed(backend, connection);
    } else if (most > 0) {
        is_good = read_socket(backend, connection, buffers, most);
    }
    if (is_good) mark_busy(backend, connection);
    return is_good;
}

/* The guest is given something, of `buffers` free ones. A round ends with the second packet for the same connection. */
static bool fill_next(struct backend *backend, unsigned buffers) {
    if (backend->stray_count > 0) return emit_stray(backend);
    struct connection *connection = next_busy(backend);
    if (connection->round == backend->round) {
        ring_publish(&backend->rings[RX]);
        backend->round++;
    }
    connection->round = backend->round;
    return serve(backend, connection, buffers);
}

const char *fill_buffers(struct backend *backend) {
    struct ring *ring = &backend->rings[RX];
    bool is_good = true;
    for (unsigned left = TURN; is_good && ring_is_on(ring) && (backend->stray_count > 0 || backend->busy > 0);) {
        int waiting = ring_waiting(ring);
        if (waiting == 0 && !ring_arm(ring)) break;
        if (waiting == 0) continue;
        if (left-- == 0) {
            backend->has_more = true;
            break;
        }
        is_good = waiting > 0 && fill_next(backend, (unsigned)waiting);
    }
    backend->round++;
    if (!is_good) return ring->problem;
    if (ring_is_on(ring)) ring_publish(ring);
    return NULL;
}
