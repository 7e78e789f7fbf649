/* The vhost-user protocol: what QEMU tells a device that lives in another process.
 *
 * A message is read without waiting, in as many pieces as come, into a place of a fixed size; an answer that QEMU does
 * not read ends it. Descriptors that no message had a use for are closed.
 *
 * Specification: docs/interop/vhost-user.rst of QEMU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend.h"

enum request {
    GET_FEATURES = 1,
    SET_FEATURES = 2,
    SET_OWNER = 3,
    SET_MEM_TABLE = 5,
    SET_VRING_NUM = 8,
    SET_VRING_ADDR = 9,
    SET_VRING_BASE = 10,
    GET_VRING_BASE = 11,
    SET_VRING_KICK = 12,
    SET_VRING_CALL = 13,
    SET_VRING_ERR = 14,
    GET_PROTOCOL_FEATURES = 15,
    SET_PROTOCOL_FEATURES = 16,
    GET_QUEUE_NUM = 17,
    SET_VRING_ENABLE = 18,
    GET_CONFIG = 24,
};

enum { VERSION = 1, IS_ANSWER = 4, WANTS_ANSWER = 8 }; /* of a message's flags */
enum { NO_DESCRIPTOR = 0x100 };                        /* of a ring's number, with a kick or call */

static const uint64_t device_features = 1ULL << VIRTIO_F_VERSION_1 | 1ULL << 30 /* PROTOCOL_FEATURES */ |
                                        1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
static const uint64_t protocol_features = 1ULL << 9 /* CONFIG */ | 1ULL << 3 /* REPLY_ACK */;

struct head {
    uint32_t request, flags, size;
} __attribute__((packed));

union payload {
    uint64_t number;
    struct {
        uint32_t index, value;
    } ring;
    struct {
        uint32_t index, flags;
        uint64_t table, used, available, log;
    } addresses;
    struct {
        uint32_t count, padding;
        struct region_description regions[MAX_REGIONS];
    } memory;
    struct {
        uint32_t offset, size, flags;
        unsigned char bytes[8];
    } config;
    unsigned char bytes[12 + 256];
};

/* What has come of a message. There is one QEMU. */
static struct {
    struct head head;
    union payload payload;
    size_t have;
    int fds[MAX_REGIONS];
    unsigned fd_count;
} message;

static const char no_such_ring[] = "QEMU makes no sense: a ring that is not there";
static const char too_short[] = "QEMU makes no sense: a message that is too short";

static void close_message_descriptors(void) {
    while (message.fd_count > 0) {
        int fd = message.fds[--message.fd_count];
        if (fd >= 0) close(fd);
    }
}

static void replace(int *place, int fd) {
    if (*place >= 0) close(*place);
    *place = fd;
}

/* QEMU has the eventfd, too: closing ours does not end the watching. */
static void drop_kick(struct backend *backend, struct ring *ring) {
    if (ring->kick >= 0) epoll_ctl(backend->epoll, EPOLL_CTL_DEL, ring->kick, NULL);
    replace(&ring->kick, -1);
}

static void stop_ring(struct backend *backend, unsigned index) {
    backend->rings[index].is_started = false;
    drop_kick(backend, &backend->rings[index]);
    /* The guest rebooted, or its driver went: it knows of no connection any more. */
    if (index == RX || index == TX) connections_drop_all(backend);
}

void qemu_forget(struct backend *backend) {
    for (unsigned i = 0; i < RINGS; i++) {
        stop_ring(backend, i);
        replace(&backend->rings[i].call, -1);
        ring_reset(&backend->rings[i]);
    }
    memory_unmap(&backend->memory);
    memory_is_lost = 0;
    backend->features = 0;
    close_message_descriptors();
    message.have = 0;
    replace(&backend->qemu, -1);
}

static bool has_gone(int qemu) {
    char byte;
    return recv(qemu, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void qemu_meet(struct backend *backend) {
    int newcomer = accept4(backend->vhost_listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (newcomer < 0) return;
    if (backend->qemu >= 0 && has_gone(backend->qemu)) lose_qemu(backend, "QEMU is gone");
    if (backend->qemu >= 0 || !watch(backend, newcomer, EPOLLIN, tag(FROM_QEMU, 0, backend->qemu_generation + 1))) {
        close(newcomer);
        return;
    }
    backend->qemu = newcomer;
    backend->qemu_generation++;
    say("QEMU is here");
}

static void answer(struct backend *backend, const void *bytes, size_t size, const char **problem) {
    unsigned char whole[sizeof message.head + sizeof message.payload];
    struct head head = {.request = message.head.request, .flags = VERSION | IS_ANSWER, .size = (uint32_t)size};
    memcpy(whole, &head, sizeof head);
    if (size > 0) memcpy(whole + sizeof head, bytes, size);
    ssize_t sent = send(backend->qemu, whole, sizeof head + size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent != (ssize_t)(sizeof head + size)) *problem = "QEMU does not read its answers";
}

static void answer_number(struct backend *backend, uint64_t number, const char **problem) {
    answer(backend, &number, sizeof number, problem);
}

/* The device's configuration: the guest's CID, 8 bytes. An answer without bytes: there is nothing like that. */
static void answer_config(struct backend *backend, const char **problem) {
    const union payload *payload = &message.payload;
    uint32_t offset = payload->config.offset, size = payload->config.size;
    union payload reply = {.config = {offset, size, payload->config.flags, {0}}};
    if (message.head.size < 12) {
        *problem = too_short;
    } else if (offset > 8 || size > 8 - offset) {
        answer(backend, NULL, 0, problem);
    } else {
        memcpy(reply.config.bytes, (const unsigned char *)&backend->cid + offset, size);
        answer(backend, &reply, 12 + size, problem);
    }
}

static const char *set_memory(struct backend *backend) {
    const union payload *payload = &message.payload;
    uint32_t count = payload->memory.count;
    if (count > MAX_REGIONS || message.head.size < 8 + count * sizeof payload->memory.regions[0]) return too_short;
    if (message.fd_count != count) return "QEMU makes no sense: not one descriptor for each memory region";
    struct region_description regions[MAX_REGIONS];
    memcpy(regions, payload->memory.regions, sizeof regions);
    const char *problem = memory_map(&backend->memory, regions, message.fds, count);
    for (unsigned i = 0; i < RINGS && !problem; i++) {
        struct ring *ring = &backend->rings[i];
        ring->table = NULL;
        if (ring->has_addresses && !ring_lay_out(ring, &backend->memory)) problem = "a ring outside of the new memory";
    }
    return problem;
}

static const char *set_size(struct ring *ring, uint32_t size) {
    if (size == 0 || size > MAX_RING || (size & (size - 1)) != 0) return "QEMU makes no sense: a ring's size";
    ring->size = size;
    ring->table = NULL;
    ring->has_addresses = false;
    return NULL;
}

static const char *set_addresses(struct backend *backend, struct ring *ring) {
    const union payload *payload = &message.payload;
    ring->addresses = (struct ring_addresses){
        payload->addresses.table, payload->addresses.used, payload->addresses.available};
    ring->has_addresses = ring_lay_out(ring, &backend->memory);
    if (!ring->has_addresses) return "QEMU makes no sense: a ring outside of the memory";
    ring->pushed = ring->published = __atomic_load_n((const uint16_t *)&ring->used->idx, __ATOMIC_RELAXED);
    return NULL;
}

/* Takes the message's descriptor, -1 without. It must be an eventfd, and writing to it must not wait. */
static bool take_eventfd(int *fd) {
    struct stat file;
    *fd = -1;
    if (message.payload.number & NO_DESCRIPTOR || message.fd_count == 0) return true;
    int flags = fcntl(message.fds[0], F_GETFL);
    bool is_anonymous = fstat(message.fds[0], &file) == 0 && (file.st_mode & S_IFMT) == 0;
    if (!is_anonymous || flags < 0 || fcntl(message.fds[0], F_SETFL, flags | O_NONBLOCK) != 0) return false;
    *fd = message.fds[0];
    message.fds[0] = -1;
    return true;
}

static const char *set_eventfd(struct backend *backend, unsigned index, bool is_kick) {
    struct ring *ring = &backend->rings[index];
    int fd;
    if (!take_eventfd(&fd)) return "QEMU makes no sense: a descriptor that is no eventfd";
    if (!is_kick) {
        replace(&ring->call, fd);
        /* What was told to the one before may have reached nobody: QEMU changes it without a word in between. */
        uint64_t one = 1;
        ssize_t written = fd >= 0 ? write(fd, &one, sizeof one) : 0;
        (void)written;
        return NULL;
    }
    drop_kick(backend, ring);
    ring->kick = fd;
    ring->is_started = true;
    /* Edge-triggered: that there was a kick is all that it says, and it need not be read. */
    if (fd >= 0 && !watch(backend, fd, EPOLLIN | EPOLLET, tag(FROM_KICK, index, 0))) {
        return "QEMU makes no sense: a kick that cannot be waited for";
    }
    return NULL;
}

/* A message about a ring. */
static const char *perform_for_ring(struct backend *backend, enum request request, bool *is_answered) {
    const union payload *payload = &message.payload;
    bool has_descriptor = request == SET_VRING_KICK || request == SET_VRING_CALL || request == SET_VRING_ERR;
    size_t needed = request == SET_VRING_ADDR ? sizeof payload->addresses : sizeof payload->ring;
    unsigned index = has_descriptor ? payload->number & 0xff : payload->ring.index;
    const char *problem = NULL;
    if (message.head.size < needed) return too_short;
    if (index >= RINGS) return no_such_ring;
    struct ring *ring = &backend->rings[index];
    switch (request) {
        case SET_VRING_NUM: return set_size(ring, payload->ring.value);
        case SET_VRING_ADDR: return set_addresses(backend, ring);
        case SET_VRING_BASE: ring->taken = (uint16_t)payload->ring.value; break;
        case SET_VRING_KICK: return set_eventfd(backend, index, true);
        case SET_VRING_CALL: return set_eventfd(backend, index, false);
        case SET_VRING_ENABLE: ring->is_enabled = payload->ring.value != 0; break;
        case GET_VRING_BASE: {
            stop_ring(backend, index);
            uint32_t reply[2] = {index, ring->taken};
            answer(backend, reply, sizeof reply, &problem);
            *is_answered = true;
            break;
        }
        default: break;
    }
    return problem;
}

static const char *set_features(struct backend *backend) {
    if (message.head.size < sizeof message.payload.number) return too_short;
    backend->features = message.payload.number & device_features;
    for (unsigned i = 0; i < RINGS; i++) {
        backend->rings[i].uses_event_index = backend->features >> VIRTIO_RING_F_EVENT_IDX & 1;
        backend->rings[i].uses_indirect = backend->features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
    }
    return NULL;
}

static const char *perform(struct backend *backend) {
    enum request request = message.head.request;
    const char *problem = NULL;
    uint64_t acknowledgement = 0;
    bool is_answered = true;
    switch (request) {
        case GET_FEATURES: answer_number(backend, device_features, &problem); break;
        case GET_PROTOCOL_FEATURES: answer_number(backend, protocol_features, &problem); break;
        case GET_QUEUE_NUM: answer_number(backend, RINGS - 1, &problem); break;
        case GET_CONFIG: answer_config(backend, &problem); break;
        default: is_answered = false;
    }
    if (is_answered) return problem;
    switch (request) {
        case SET_FEATURES: problem = set_features(backend); break;
        case SET_OWNER:
        case SET_PROTOCOL_FEATURES: break;
        case SET_MEM_TABLE: problem = set_memory(backend); break;
        case SET_VRING_NUM:
        case SET_VRING_ADDR:
        case SET_VRING_BASE:
        case GET_VRING_BASE:
        case SET_VRING_KICK:
        case SET_VRING_CALL:
        case SET_VRING_ERR:
        case SET_VRING_ENABLE: problem = perform_for_ring(backend, request, &is_answered); break;
        default: acknowledgement = 1; /* not done */
    }
    bool is_wanted = message.head.flags & WANTS_ANSWER && !is_answered;
    if (!problem && is_wanted) answer_number(backend, acknowledgement, &problem);
    return problem;
}

/* Keeps the descriptors that came with a piece of a message; false when those are too many. */
static bool keep_descriptors(struct msghdr *received) {
    bool is_good = !(received->msg_flags & MSG_CTRUNC);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(received); at; at = CMSG_NXTHDR(received, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
            if (message.fd_count < MAX_REGIONS) {
                message.fds[message.fd_count++] = fd;
            } else {
                close(fd);
                is_good = false;
            }
        }
    }
    return is_good;
}

/* Reads on, up to the end of the head or of the message; 1: something came, 0: nothing now. */
static int read_piece(struct backend *backend, const char **problem) {
    struct head *head = &message.head;
    size_t in_head = message.have < sizeof *head ? message.have : sizeof *head;
    size_t in_payload = message.have - in_head;
    struct iovec into = {(unsigned char *)head + in_head, sizeof *head - in_head};
    if (in_head == sizeof *head) into = (struct iovec){message.payload.bytes + in_payload, head->size - in_payload};
    union {
        struct cmsghdr alignment;
        char bytes[CMSG_SPACE(MAX_REGIONS * sizeof(int))];
    } control;
    struct msghdr received = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(backend->qemu, &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (count <= 0) {
        *problem = "QEMU is gone";
        return 0;
    }
    message.have += (size_t)count;
    if (!keep_descriptors(&received)) *problem = "QEMU makes no sense: too many descriptors";
    return 1;
}

const char *qemu_serve(struct backend *backend) {
    const char *problem = NULL;
    while (!problem && read_piece(backend, &problem)) {
        if (problem || message.have < sizeof message.head) continue;
        if ((message.head.flags & 3) != VERSION) return "QEMU makes no sense: another version of the protocol";
        if (message.head.size > sizeof message.payload) return "QEMU makes no sense: a message that is too long";
        if (message.have < sizeof message.head + message.head.size) continue;
        problem = perform(backend);
        close_message_descriptors();
        message.have = 0;
        break;
    }
    return problem;
}
