#define _GNU_SOURCE
#include "ring.h"

#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rings are little-endian, and nothing here turns bytes around"
#endif

/* A 16-bit number that the guest reads or writes at the same time. */
static uint16_t load(const __virtio16 *place, int order) { return __atomic_load_n((const uint16_t *)place, order); }
static void store(__virtio16 *place, uint16_t value, int order) { __atomic_store_n((uint16_t *)place, value, order); }

/* Behind the available ring the guest says when it wants to be told, behind the used ring we do. */
static __virtio16 *guest_wants(struct ring *ring) { return &ring->available->ring[ring->size]; }
static __virtio16 *we_want(struct ring *ring) { return (__virtio16 *)&ring->used->ring[ring->size]; }

void ring_reset(struct ring *ring) {
    *ring = (struct ring){.kick = -1, .call = -1, .is_enabled = true, .is_armed = true};
}

static bool is_aligned(const void *place, uintptr_t to) { return ((uintptr_t)place & (to - 1)) == 0; }

bool ring_lay_out(struct ring *ring, const struct memory *memory) {
    const struct ring_addresses *at = &ring->addresses;
    struct vring_desc *table = memory_at_user(memory, at->table, 16 * (uint64_t)ring->size);
    struct vring_avail *available = memory_at_user(memory, at->available, 6 + 2 * (uint64_t)ring->size);
    struct vring_used *used = memory_at_user(memory, at->used, 6 + 8 * (uint64_t)ring->size);
    ring->table = NULL;
    if (ring->size == 0 || !table || !available || !used) return false;
    if (!is_aligned(table, 16) || !is_aligned(available, 2) || !is_aligned(used, 4)) return false;
    ring->table = table;
    ring->available = available;
    ring->used = used;
    return true;
}

bool ring_is_on(const struct ring *ring) { return ring->is_started && ring->is_enabled && ring->table; }

int ring_waiting(struct ring *ring) {
    /* What the guest wrote before the index is visible after it. */
    uint16_t waiting = (uint16_t)(load(&ring->available->idx, __ATOMIC_ACQUIRE) - ring->taken);
    if (waiting <= ring->size) return waiting;
    ring->problem = "it offers more buffers than its ring has";
    return -1;
}

static bool fail(struct ring *ring, const char *problem) {
    ring->problem = problem;
    return false;
}

static bool add_buffer(struct ring *ring, const struct memory *memory, const struct vring_desc *buffer,
                       struct chain *chain) {
    uint64_t address = buffer->addr;
    size_t left = buffer->len;
    if (left > LARGEST_CHAIN - chain->length) return fail(ring, "a chain of more than a mebibyte");
    chain->length += left;
    while (left > 0) {
        if (chain->count == MAX_PARTS) return fail(ring, "a chain of too many buffers");
        struct iovec *part = &chain->parts[chain->count++];
        part->iov_len = memory_piece(memory, address, left, &part->iov_base);
        if (part->iov_len == 0) return fail(ring, "a buffer outside of its memory");
        left -= part->iov_len;
        address += part->iov_len;
    }
    return true;
}

/* A copy that the guest does not change, and that the compiler does not read again. */
static struct vring_desc copy_of(const unsigned char *table, unsigned at) {
    struct vring_desc copy;
    memcpy(&copy, table + at * sizeof copy, sizeof copy);
    __asm__ volatile("" ::: "memory");
    return copy;
}

/* Follows a chain through one table. `indirect`: a descriptor that stands for a table of its own, if one ends it. */
static bool walk(struct ring *ring, const struct memory *memory, const unsigned char *table, unsigned entries,
                 unsigned at, bool for_writing, struct chain *chain, struct vring_desc *indirect) {
    for (unsigned steps = 0;; steps++) {
        if (at >= entries) return fail(ring, "a descriptor that is not in the table");
        /* Also of buffers without a byte, which count nowhere else. */
        if (steps == entries || steps == 4 * MAX_PARTS) return fail(ring, "a chain without an end");
        struct vring_desc descriptor = copy_of(table, at);
        if (descriptor.flags & VRING_DESC_F_INDIRECT) {
            if (!indirect || descriptor.flags & VRING_DESC_F_NEXT) return fail(ring, "an indirect table out of place");
            *indirect = descriptor;
            return true;
        }
        bool is_for_writing = descriptor.flags & VRING_DESC_F_WRITE;
        if (is_for_writing != for_writing) return fail(ring, "a buffer of the wrong direction");
        if (!add_buffer(ring, memory, &descriptor, chain)) return false;
        if (!(descriptor.flags & VRING_DESC_F_NEXT)) return true;
        at = descriptor.next;
    }
}

static bool walk_indirect(struct ring *ring, const struct memory *memory, const struct vring_desc *indirect,
                          bool for_writing, struct chain *chain) {
    void *table;
    uint32_t length = indirect->len;
    if (length == 0 || length % sizeof *indirect != 0 || length / sizeof *indirect > MAX_RING) {
        return fail(ring, "an indirect table of a wrong size");
    }
    if (memory_piece(memory, indirect->addr, length, &table) != length) {
        return fail(ring, "an indirect table outside of its memory");
    }
    return walk(ring, memory, table, (unsigned)(length / sizeof *indirect), 0, for_writing, chain, NULL);
}

/* With an index there is nothing to do: the guest has come past it. */
static void disarm(struct ring *ring) {
    ring->is_armed = false;
    if (!ring->uses_event_index) store(&ring->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool ring_take(struct ring *ring, const struct memory *memory, bool for_writing, struct chain *chain) {
    struct vring_desc indirect = {0};
    if (ring->is_armed) disarm(ring);
    chain->head = load(&ring->available->ring[ring->taken & (ring->size - 1)], __ATOMIC_RELAXED);
    chain->count = 0;
    chain->length = 0;
    ring->taken++;
    struct vring_desc *allowed = ring->uses_indirect ? &indirect : NULL;
    const unsigned char *table = (const unsigned char *)ring->table;
    if (!walk(ring, memory, table, ring->size, chain->head, for_writing, chain, allowed)) return false;
    return indirect.flags == 0 || walk_indirect(ring, memory, &indirect, for_writing, chain);
}

void ring_untake(struct ring *ring, unsigned count) { ring->taken = (uint16_t)(ring->taken - count); }

void ring_push(struct ring *ring, uint16_t head, uint32_t written) {
    struct vring_used_elem *entry = &ring->used->ring[ring->pushed & (ring->size - 1)];
    entry->id = head;
    entry->len = written;
    ring->pushed++;
}

/* Whether the guest wants to be told that the used ring's index went from `before` to what it is. */
static bool is_wanted(struct ring *ring, uint16_t before) {
    if (!ring->uses_event_index) return !(load(&ring->available->flags, __ATOMIC_RELAXED) & VRING_AVAIL_F_NO_INTERRUPT);
    return vring_need_event(load(guest_wants(ring), __ATOMIC_RELAXED), ring->pushed, before);
}

void ring_publish(struct ring *ring) {
    uint16_t before = ring->published;
    if (ring->pushed == before) return;
    store(&ring->used->idx, ring->pushed, __ATOMIC_RELEASE);
    ring->published = ring->pushed;
    /* The guest says what it wants, then looks at the index; we write the index, then look at what it wants. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (ring->call < 0 || !is_wanted(ring, before)) return;
    ring->notified++;
    uint64_t one = 1;
    /* It does not wait: an eventfd that is full has told the guest. */
    ssize_t written = write(ring->call, &one, sizeof one);
    (void)written;
}

bool ring_arm(struct ring *ring) {
    ring->is_armed = true;
    if (ring->uses_event_index) {
        store(we_want(ring), ring->taken, __ATOMIC_RELAXED);
    } else {
        store(&ring->used->flags, 0, __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return load(&ring->available->idx, __ATOMIC_RELAXED) != ring->taken;
}
