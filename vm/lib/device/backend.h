/* The vsock backend's parts and what they share. main.c has the theory of operation. */
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory.h"
#include "ring.h"

enum {
    RX, /* what the guest receives */
    TX, /* what it sends */
    RINGS = 3, /* the third, for events, is there and never used */
    HOST_CID = 2,
    WINDOW = 256 * 1024, /* bytes that the guest may send before the Unix socket took any of them */
    MAX_CONNECTIONS = 4096,
    SMALLEST_BACKLOG = 16 * 1024,
    ALL_BACKLOGS = 64 * 1024 * 1024, /* bytes, for all readers that have stopped */
    MAX_CALLERS = 64,
    MAX_STRAYS = 2 * MAX_CONNECTIONS, /* each place may end twice before the guest takes anything */
    LONGEST_REQUEST = 32, /* bytes of a CONNECT line */
    MOST_PARTS = 1024,    /* the kernel's IOV_MAX */
};

/* virtio 1.2 §5.10.6. The kernel's linux/virtio_vsock.h has the numbers. */
struct packet {
    uint64_t source, destination;
    uint32_t source_port, destination_port;
    uint32_t length;
    uint16_t type, operation;
    uint32_t flags;
    uint32_t window, forwarded;
} __attribute__((packed));

/* The two ports of a connection: its name, for both sides. */
struct ports {
    uint32_t guest, host;
};

/* Bytes for a Unix socket that does not take them now: a ring, of WINDOW bytes at most. */
struct backlog {
    unsigned char *bytes; /* NULL: there are none */
    size_t capacity, start, length;
};

/* One stream between a guest's port and a Unix socket. */
struct connection {
    struct ports ports;
    uint32_t generation; /* one more for each connection that has had this place */
    int fd;              /* -1: this place is free */
    struct connection *next_in_bucket;
    struct connection *next_busy;
    struct backlog backlog;
    unsigned burst;           /* how many of the guest's buffers the next read may fill */
    uint32_t round;           /* the last round in which this connection was served */
    uint32_t forwarded;       /* bytes that the Unix socket took, modulo 2^32 as in packets, as are the next four */
    uint32_t reported;        /* what the guest was told of that */
    uint32_t received;        /* bytes that came from the guest */
    uint32_t sent;            /* bytes that went to it */
    uint32_t guest_forwarded; /* what it told us of that */
    uint32_t guest_window;
    uint32_t owed;            /* a bit for each operation that the guest is to get */
    uint32_t owed_flags;      /* of SHUTDOWN */
    bool is_open;             /* both sides agreed */
    bool is_readable;         /* what the kernel said last */
    bool host_ended, guest_ended; /* no more bytes from there */
    bool is_closing;
    bool is_hung_up; /* the Unix socket's other end is closed */
    bool is_shut;    /* the Unix socket's reader was told that the guest has ended */
    bool is_busy;    /* in the queue of those with something for the guest */
};

/* Packets of the guest for one Unix socket, taken from its ring and not yet written. The bytes are in its memory. */
struct batch {
    struct connection *to;
    unsigned count;
    size_t bytes;
    struct iovec parts[MOST_PARTS];
};

/* A process on the host that connected, and has not said yet to which port of the guest. */
struct caller {
    int fd; /* -1: this place is free */
    uint32_t generation;
    uint64_t since; /* a number that grows with each caller */
    size_t length;
    char line[LONGEST_REQUEST];
};

struct backend {
    uint64_t cid;
    const char *hybrid_path;
    int epoll, vhost_listener, hybrid_listener;
    bool is_paused; /* no descriptor is left for another caller */
    bool has_more;  /* something is to be done although nothing is heard */

    int qemu; /* -1: it is not here */
    uint32_t qemu_generation;
    uint64_t features; /* that the guest's driver took */
    struct memory memory;
    struct ring rings[RINGS];

    struct batch batch;
    struct connection *first_busy, *last_busy;
    unsigned busy, round;
    struct ports strays[MAX_STRAYS]; /* resets for connections that are not there: a ring */
    unsigned first_stray, stray_count;

    struct connection connections[MAX_CONNECTIONS];
    struct connection *free, *buckets[MAX_CONNECTIONS];
    unsigned connection_count, most_connections;
    uint64_t seed;
    uint32_t next_port;
    size_t backlog_bytes; /* capacity of all backlogs */

    struct caller callers[MAX_CALLERS];
    uint64_t caller_count;
};

/* What an event of epoll is about. Its place and generation say which: an event for what is over finds nothing. */
enum source {
    FROM_VHOST_LISTENER,
    FROM_HYBRID_LISTENER,
    FROM_SIGNAL,
    FROM_QEMU,
    FROM_KICK,
    FROM_CALLER,
    FROM_CONNECTION,
};

static inline uint64_t tag(enum source source, unsigned place, uint32_t generation) {
    return (uint64_t)generation << 32 | (uint64_t)place << 8 | source;
}

/* main.c */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Watches a descriptor. False: the kernel does not. */
bool watch(struct backend *backend, int fd, uint32_t events, uint64_t tag);
void lose_qemu(struct backend *backend, const char *why);

/* vhost-user.c */
void qemu_meet(struct backend *backend);
/* NULL, or why QEMU is to be let go. */
const char *qemu_serve(struct backend *backend);
/* Lets go of QEMU and of everything it gave. */
void qemu_forget(struct backend *backend);

/* from-guest.c, to-guest.c: NULL, or what makes no sense in the guest's rings. */
const char *take_packets(struct backend *backend);
const char *fill_buffers(struct backend *backend);

/* from-guest.c */
void flush(struct backend *backend, struct connection *connection);

/* to-guest.c */
void owe(struct backend *backend, struct connection *connection, unsigned operation);
void owe_shutdown(struct backend *backend, struct connection *connection, uint32_t flags);
void owe_reset(struct backend *backend, struct ports ports);
void mark_busy(struct backend *backend, struct connection *connection);

/* connections.c */
void connections_prepare(struct backend *backend, unsigned most);
struct connection *connection_find(struct backend *backend, struct ports ports);
/* Takes the descriptor; NULL when there is no room, and then it is the caller's still. */
struct connection *connection_add(struct backend *backend, int fd, struct ports ports);
struct connection *connection_at(struct backend *backend, uint32_t place, uint32_t generation);
/* Ends a connection here, or on both sides; nothing when it is over. */
void connection_drop(struct backend *backend, struct connection *connection);
void connection_reset(struct backend *backend, struct connection *connection);
void connections_drop_all(struct backend *backend);
void connection_event(struct backend *backend, struct connection *connection, uint32_t events);
/* A connection of the guest's to a Unix socket; -1 when nobody takes it. */
int connection_dial(struct backend *backend, uint32_t port);
/* Whether epoll also tells when the Unix socket takes bytes again. */
void connection_watch_room(struct backend *backend, struct connection *connection, bool is_wanted);

/* backlog.c */
/* Keeps bytes for the Unix socket; false when that is too much. */
bool backlog_add(struct backend *backend, struct backlog *backlog, const void *bytes, size_t count);
/* What is kept, in one or two pieces. */
unsigned backlog_pieces(const struct backlog *backlog, struct iovec pieces[2]);
void backlog_remove(struct backend *backend, struct backlog *backlog, size_t count);
void backlog_clear(struct backend *backend, struct backlog *backlog);

/* callers.c */
void callers_prepare(struct backend *backend);
void callers_accept(struct backend *backend);
void caller_event(struct backend *backend, uint32_t place, uint32_t generation);
unsigned callers_waiting(const struct backend *backend);

#endif
