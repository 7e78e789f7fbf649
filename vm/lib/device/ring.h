/* One virtqueue (a split ring, virtio 1.2 §2.7), seen from the device.
 *
 * The guest may change all of it at any time. Each number is read once into memory of ours and checked there; what the
 * guest reads while it is written here (the used ring's index, the index at which we want to be told) is stored whole.
 * All these numbers are little-endian, as every machine is that runs this.
 *
 * Notifications, with VIRTIO_RING_F_EVENT_IDX (without it a flag each way says the same):
 *
 *   guest → here   only after ring_arm, which device code calls when it has taken all and wants more. A guest that goes
 *                  on while we work does not leave the VM to tell us.
 *   here → guest   ring_publish makes all that was pushed visible at once, and tells the guest at most once, and not if
 *                  it did not ask to be told so far.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory.h"

enum {
    MAX_RING = 32768,        /* entries (virtio 1.2 §2.7) */
    MAX_PARTS = 128,         /* of one chain, after translation; Linux needs 19 at most */
    LARGEST_CHAIN = 1 << 20, /* bytes; more than any packet of a guest */
};

struct ring_addresses {
    uint64_t table, used, available; /* QEMU's */
};

struct ring {
    int kick, call; /* eventfds: from the guest, to the guest; -1 without */
    unsigned size;
    struct ring_addresses addresses;
    bool has_addresses, is_started, is_enabled;
    bool is_armed; /* the guest is to tell us */
    bool uses_event_index, uses_indirect;
    /* In the guest's memory, and NULL unless all three are good. */
    struct vring_desc *table;
    struct vring_avail *available;
    struct vring_used *used;
    uint16_t taken;     /* the next entry of the available ring */
    uint16_t pushed;    /* the next entry of the used ring */
    uint16_t published; /* the used ring's index, as the guest knows it */
    uint64_t notified;  /* how often the guest was told */
    const char *problem; /* what makes no sense */
};

/* Buffers of the guest. */
struct chain {
    uint16_t head;
    unsigned count;
    size_t length;
    struct iovec *parts; /* room for MAX_PARTS, the caller's */
};

void ring_reset(struct ring *ring);

/* Finds the three parts of the ring in memory; false when they are not there. */
bool ring_lay_out(struct ring *ring, const struct memory *memory);

bool ring_is_on(const struct ring *ring);

/* How many chains the guest offers; -1 when that makes no sense (`problem` says what). */
int ring_waiting(struct ring *ring);

/* Takes the next chain, of which there must be one. Each of its buffers must be for the device to write, or none.
 * False when it makes no sense (`problem` says what). */
bool ring_take(struct ring *ring, const struct memory *memory, bool for_writing, struct chain *chain);

/* Gives back the last `count` chains that were taken, as if they had not been. */
void ring_untake(struct ring *ring, unsigned count);

void ring_push(struct ring *ring, uint16_t head, uint32_t written);
void ring_publish(struct ring *ring);

/* Asks the guest to tell us of the next chain. True: one is there already. */
bool ring_arm(struct ring *ring);

#endif
