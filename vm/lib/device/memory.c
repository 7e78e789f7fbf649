#define _GNU_SOURCE
#include "memory.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

volatile sig_atomic_t memory_is_lost;
static const struct memory *watched;

static const struct region *region_with(const void *address) {
    const unsigned char *byte = address;
    for (unsigned i = 0; watched && i < watched->count; i++) {
        const struct region *region = &watched->regions[i];
        if (byte >= region->mapping && byte < region->mapping + region->mapped) return region;
    }
    return NULL;
}

/* SIGBUS: whoever gave us the memory made its file shorter. */
static void replace_page(int number, siginfo_t *info, void *context) {
    (void)context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)((uintptr_t)info->si_addr & ~(page - 1));
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    if (region_with(info->si_addr) && mmap(start, page, PROT_READ | PROT_WRITE, flags, -1, 0) == start) {
        memory_is_lost = 1;
    } else {
        signal(number, SIG_DFL); /* the access is tried again, and ends the program */
    }
}

void memory_survive_truncation(const struct memory *memory) {
    watched = memory;
    struct sigaction action = {.sa_sigaction = replace_page, .sa_flags = SA_SIGINFO};
    sigaction(SIGBUS, &action, NULL);
}

static const char *map_region(struct region *region, const struct region_description *is, int fd) {
    struct stat file;
    uint64_t end, guest_end, user_end;
    if (is->size == 0 || __builtin_add_overflow(is->offset, is->size, &end) ||
        __builtin_add_overflow(is->guest, is->size, &guest_end) ||
        __builtin_add_overflow(is->user, is->size, &user_end) || end > PTRDIFF_MAX) {
        return "a memory region that is empty or beyond 64 bits";
    }
    if (fstat(fd, &file) != 0 || file.st_size < 0 || (uint64_t)file.st_size < end) {
        return "a memory region that is larger than its file";
    }
    /* munmap of huge pages wants whole ones, whose size the file says. */
    uint64_t block = file.st_blksize > 0 ? (uint64_t)file.st_blksize : 1;
    uint64_t mapped = (end + block - 1) / block * block;
    void *mapping = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (mapping == MAP_FAILED) return "a memory region that cannot be mapped";
    *region = (struct region){.is = *is, .mapping = mapping, .mapped = mapped};
    return NULL;
}

const char *memory_map(struct memory *memory, const struct region_description *regions, const int *fds,
                       unsigned count) {
    struct memory fresh = {0};
    if (count > MAX_REGIONS) return "more than eight memory regions";
    for (; fresh.count < count; fresh.count++) {
        const char *problem = map_region(&fresh.regions[fresh.count], &regions[fresh.count], fds[fresh.count]);
        if (problem) {
            memory_unmap(&fresh);
            return problem;
        }
    }
    memory_unmap(memory);
    *memory = fresh;
    return NULL;
}

void memory_unmap(struct memory *memory) {
    for (unsigned i = 0; i < memory->count; i++) munmap(memory->regions[i].mapping, memory->regions[i].mapped);
    memory->count = 0;
}

void *memory_at_user(const struct memory *memory, uint64_t address, uint64_t length) {
    for (unsigned i = 0; i < memory->count; i++) {
        const struct region_description *is = &memory->regions[i].is;
        if (address < is->user || address - is->user > is->size) continue;
        if (length > is->size - (address - is->user)) continue;
        return memory->regions[i].mapping + is->offset + (address - is->user);
    }
    return NULL;
}

size_t memory_piece(const struct memory *memory, uint64_t address, size_t length, void **start) {
    for (unsigned i = 0; i < memory->count; i++) {
        const struct region_description *is = &memory->regions[i].is;
        if (address < is->guest || address - is->guest >= is->size) continue;
        uint64_t rest = is->size - (address - is->guest);
        *start = memory->regions[i].mapping + is->offset + (address - is->guest);
        return length < rest ? length : (size_t)rest;
    }
    return 0;
}
