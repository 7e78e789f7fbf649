/* Bytes that a Unix socket did not take. They are copied, as the guest gets its buffers back at once. One connection
 * has WINDOW bytes at most, all of them together ALL_BACKLOGS; there are no pieces that could be many.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "backend.h"

unsigned backlog_pieces(const struct backlog *backlog, struct iovec pieces[2]) {
    size_t until_end = backlog->capacity - backlog->start;
    if (backlog->length == 0) return 0;
    pieces[0].iov_base = backlog->bytes + backlog->start;
    pieces[0].iov_len = backlog->length < until_end ? backlog->length : until_end;
    pieces[1].iov_base = backlog->bytes;
    pieces[1].iov_len = backlog->length - pieces[0].iov_len;
    return pieces[1].iov_len > 0 ? 2 : 1;
}

void backlog_clear(struct backend *backend, struct backlog *backlog) {
    free(backlog->bytes);
    backend->backlog_bytes -= backlog->capacity;
    *backlog = (struct backlog){0};
}

/* Makes room for `length` bytes. */
static bool grow(struct backend *backend, struct backlog *backlog, size_t length) {
    size_t capacity = SMALLEST_BACKLOG;
    while (capacity < length) capacity *= 2;
    if (backend->backlog_bytes + capacity > ALL_BACKLOGS) return false;
    unsigned char *bytes = malloc(capacity);
    if (!bytes) return false;
    struct iovec pieces[2];
    size_t kept = 0;
    for (unsigned i = 0, count = backlog_pieces(backlog, pieces); i < count; i++) {
        memcpy(bytes + kept, pieces[i].iov_base, pieces[i].iov_len);
        kept += pieces[i].iov_len;
    }
    backlog_clear(backend, backlog);
    backend->backlog_bytes += capacity;
    *backlog = (struct backlog){.bytes = bytes, .capacity = capacity, .length = kept};
    return true;
}

bool backlog_add(struct backend *backend, struct backlog *backlog, const void *bytes, size_t count) {
    if (count > WINDOW - backlog->length) return false;
    if (count == 0) return true;
    if (backlog->length + count > backlog->capacity && !grow(backend, backlog, backlog->length + count)) return false;
    size_t end = (backlog->start + backlog->length) % backlog->capacity;
    size_t first = backlog->capacity - end < count ? backlog->capacity - end : count;
    memcpy(backlog->bytes + end, bytes, first);
    memcpy(backlog->bytes, (const unsigned char *)bytes + first, count - first);
    backlog->length += count;
    return true;
}

void backlog_remove(struct backend *backend, struct backlog *backlog, size_t count) {
    backlog->length -= count;
    if (backlog->length == 0) {
        backlog_clear(backend, backlog);
    } else {
        backlog->start = (backlog->start + count) % backlog->capacity;
    }
}
