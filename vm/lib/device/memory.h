/* A guest's memory, as a vhost-user device maps it.
 *
 * All addresses here come from the guest or from QEMU: each is checked against the regions before it becomes a pointer,
 * without sums that could overflow. A pointer is good until the next memory_unmap.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_REGIONS = 8 }; /* what the protocol allows without CONFIGURE_MEM_SLOTS */

/* A region as the message SET_MEM_TABLE has it. */
struct region_description {
    uint64_t guest;  /* where the guest sees it */
    uint64_t size;   /* in bytes */
    uint64_t user;   /* where QEMU sees it, which is how rings are named */
    uint64_t offset; /* in the descriptor that comes with it */
};

struct region {
    struct region_description is;
    unsigned char *mapping; /* of the descriptor from its beginning, so the region is `offset` further */
    size_t mapped;          /* length of the mapping */
};

struct memory {
    unsigned count;
    struct region regions[MAX_REGIONS];
};

/* Set when a file turned out to be shorter than its region, after the fact: QEMU is to be let go. */
extern volatile sig_atomic_t memory_is_lost;

/* Survives an access to memory whose file was cut off: the page is replaced by an empty one, and memory_is_lost set. */
void memory_survive_truncation(const struct memory *memory);

/* Maps regions in place of those before. Closes no descriptor. Returns NULL, or what is wrong; then nothing changed. */
const char *memory_map(struct memory *memory, const struct region_description *regions, const int *fds, unsigned count);
void memory_unmap(struct memory *memory);

/* `length` bytes at an address of QEMU's; NULL when they are not all in one region. */
void *memory_at_user(const struct memory *memory, uint64_t address, uint64_t length);

/* How many of `length` bytes at a guest's address lie in one piece, and where; 0: the first is in no region. */
size_t memory_piece(const struct memory *memory, uint64_t address, size_t length, void **start);

#endif
