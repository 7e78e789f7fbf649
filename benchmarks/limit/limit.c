// The speed of light: the path of a forwarded TCP connection through two processes, in C on libuv, with nothing
// but what the path needs. What Twinport loses against it is Twinport's own cost.
//
//     limit near PORT PLACE    accepts on 127.0.0.1:PORT, dials PLACE for every connection
//     limit far PLACE PORT     accepts on PLACE, dials 127.0.0.1:PORT for every connection
//
//     application ⇄ TCP ⇄ near ⇄ Unix socket or vsock, framed ⇄ far ⇄ TCP ⇄ application
//
// place.h says what a PLACE is. In the tunnel bytes travel in frames: eight bytes of length in host order, then so many
// bytes; a length of 0 is the end of that direction (FIN). There is no multiplexing, no credit and no scheduler: each
// connection has a tunnel connection of its own, and back-pressure is the kernel's. One thread, one uv_poll_t per socket,
// 256 KiB reads straight behind the header into one buffer that all connections share; only what a socket did not take is
// copied and kept. A reset on either side resets the other.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "place.h"

enum { HEADER = 8, CHUNK = 256 << 10, READS = 4, TUNNEL_BUFFER = 1 << 20 };

static char shared[HEADER + CHUNK];

struct flow;

struct side {
    uv_poll_t poll;
    struct flow *flow;
    int fd, interest;
};

// One direction of a flow.
struct half {
    char *rest;          // what `to` did not take
    size_t offset, size; // of `rest`
    uint64_t frame_left; // deframing only: bytes of the frame that have not passed yet
    char header[HEADER]; // deframing only: a header that came in parts
    size_t header_size;
    int in_line; // deframing only: a VMM's line comes first
    int read_ended; // no more bytes will be read
    int done;       // the end was passed on
};

struct flow {
    struct side application, tunnel;
    struct half out, in; // out: application to tunnel; in: tunnel to application
    int open_handles, dead;
};

static void ready(uv_poll_t *poll, int status, int events);

// Waiting for room is per direction: a direction with a rest does not read.
static void watch(struct side *side, struct half *from_here, struct half *to_here) {
    int interest = 0;
    if (!from_here->rest && !from_here->read_ended) interest |= UV_READABLE;
    if (to_here->rest) interest |= UV_WRITABLE;
    if (interest == 0) interest = UV_PRIORITIZED; // errors are still reported
    if (interest == side->interest) return;
    side->interest = interest;
    uv_poll_start(&side->poll, interest, ready);
}

static void watch_both(struct flow *flow) {
    watch(&flow->application, &flow->out, &flow->in);
    watch(&flow->tunnel, &flow->in, &flow->out);
}

static void handle_closed(uv_handle_t *handle) {
    struct flow *flow = ((struct side *)handle->data)->flow;
    if (--flow->open_handles > 0) return;
    free(flow->out.rest);
    free(flow->in.rest);
    free(flow);
}

static void end(struct flow *flow, int resetting) {
    if (flow->dead) return;
    flow->dead = 1;
    struct linger abort = {1, 0};
    if (resetting) setsockopt(flow->application.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    uv_close((uv_handle_t *)&flow->application.poll, handle_closed);
    uv_close((uv_handle_t *)&flow->tunnel.poll, handle_closed);
    close(flow->application.fd);
    close(flow->tunnel.fd);
}

// Writes what goes. Returns how many bytes went, -1 when the socket is dead.
static ssize_t give(int fd, const char *bytes, size_t size) {
    size_t given = 0;
    while (given < size) {
        ssize_t count = send(fd, bytes + given, size - given, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno == EAGAIN ? (ssize_t)given : -1;
        given += count;
    }
    return given;
}

static void keep(struct half *half, const char *bytes, size_t size) {
    char *rest = malloc(size);
    memcpy(rest, bytes, size);
    free(half->rest);
    half->rest = rest;
    half->offset = 0;
    half->size = size;
}

// Passes framed bytes on to the tunnel. Returns -1 when it is dead.
static int pass_out(struct flow *flow, const char *bytes, size_t size) {
    ssize_t given = give(flow->tunnel.fd, bytes, size);
    if (given < 0) return -1;
    if ((size_t)given < size) keep(&flow->out, bytes + given, size - given);
    else if (flow->out.read_ended) flow->out.done = 1;
    return 0;
}

// Takes the next header, or what there is of it. Returns how many bytes that was.
static size_t take_header(struct half *in, const char *bytes, size_t size) {
    size_t wanted = HEADER - in->header_size, count = size < wanted ? size : wanted;
    memcpy(in->header + in->header_size, bytes, count);
    in->header_size += count;
    if (in->header_size < HEADER) return count;
    in->header_size = 0;
    memcpy(&in->frame_left, in->header, HEADER);
    if (in->frame_left == 0) in->read_ended = 1;
    return count;
}

// Leaves out the line with which a VMM says that the guest took the connection. Returns how many bytes that was.
static size_t skip_line(struct half *in, const char *bytes, size_t size) {
    const char *end = memchr(bytes, '\n', size);
    if (!end) return size;
    in->in_line = 0;
    return end - bytes + 1;
}

// Unwraps bytes of the tunnel and passes them on to the application. Returns -1 when it is dead.
static int pass_in(struct flow *flow, const char *bytes, size_t size) {
    struct half *in = &flow->in;
    size_t position = 0;
    while (position < size && !in->read_ended) {
        if (in->in_line) {
            position += skip_line(in, bytes + position, size - position);
            continue;
        }
        if (in->frame_left == 0) {
            position += take_header(in, bytes + position, size - position);
            continue;
        }
        size_t count = size - position < in->frame_left ? size - position : in->frame_left;
        ssize_t given = give(flow->application.fd, bytes + position, count);
        if (given < 0) return -1;
        position += given;
        in->frame_left -= given;
        if ((size_t)given < count) {
            keep(in, bytes + position, size - position);
            return 0;
        }
    }
    if (in->read_ended) {
        shutdown(flow->application.fd, SHUT_WR);
        in->done = 1;
    }
    return 0;
}

static int drain(struct flow *flow, struct half *half, int (*pass)(struct flow *, const char *, size_t)) {
    if (!half->rest) return 0;
    char *rest = half->rest;
    half->rest = NULL;
    int result = pass(flow, rest + half->offset, half->size - half->offset);
    free(rest);
    return result;
}

static int read_application(struct flow *flow) {
    for (int turn = 0; turn < READS && !flow->out.rest && !flow->out.read_ended; turn++) {
        ssize_t count = recv(flow->application.fd, shared + HEADER, CHUNK, 0);
        if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        uint64_t length = count;
        memcpy(shared, &length, HEADER);
        if (count == 0) flow->out.read_ended = 1;
        if (pass_out(flow, shared, HEADER + count) < 0) return -1;
        if (count < CHUNK) return 0;
    }
    return 0;
}

static int read_tunnel(struct flow *flow) {
    for (int turn = 0; turn < READS && !flow->in.rest && !flow->in.read_ended; turn++) {
        ssize_t count = recv(flow->tunnel.fd, shared, sizeof shared, 0);
        if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (count == 0) return -1; // the other process is gone: never a clean end
        if (pass_in(flow, shared, count) < 0) return -1;
        if ((size_t)count < sizeof shared) return 0;
    }
    return 0;
}

static void ready(uv_poll_t *poll, int status, int events) {
    struct side *side = poll->data;
    struct flow *flow = side->flow;
    int result = status < 0 ? -1 : 0;
    if (side == &flow->application) {
        if (result == 0 && events & UV_WRITABLE) result = drain(flow, &flow->in, pass_in);
        if (result == 0 && events & UV_READABLE) result = read_application(flow);
    } else {
        if (result == 0 && events & UV_WRITABLE) result = drain(flow, &flow->out, pass_out);
        if (result == 0 && events & UV_READABLE) result = read_tunnel(flow);
    }
    if (result < 0) end(flow, 1);
    else if (flow->out.done && flow->in.done) end(flow, 0);
    else watch_both(flow);
}

static void begin_side(uv_loop_t *loop, struct flow *flow, struct side *side, int fd) {
    fcntl(fd, F_SETFL, O_NONBLOCK);
    side->flow = flow;
    side->fd = fd;
    uv_poll_init(loop, &side->poll, fd);
    side->poll.data = side;
    flow->open_handles++;
}

static void begin(uv_loop_t *loop, int application, int tunnel, int in_line) {
    struct flow *flow = calloc(1, sizeof *flow);
    int on = 1, size = TUNNEL_BUFFER;
    setsockopt(application, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(tunnel, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(tunnel, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    begin_side(loop, flow, &flow->application, application);
    begin_side(loop, flow, &flow->tunnel, tunnel);
    flow->in.in_line = in_line;
    watch_both(flow);
}

static struct place tcp_place(const char *port) {
    struct place place = {.size = sizeof(struct sockaddr_in)};
    struct sockaddr_in *address = (void *)&place.address;
    address->sin_family = AF_INET;
    address->sin_port = htons(atoi(port));
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return place;
}

static struct place target;
static int is_near, listener;

static void acceptable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        int other = connect_to(&target);
        if (other < 0) {
            close(fd);
            continue;
        }
        begin(poll->loop, is_near ? fd : other, is_near ? other : fd, target.guest_port != 0);
    }
}

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "usage: limit near PORT PLACE | far PLACE PORT\n"), 2;
    is_near = strcmp(arguments[1], "near") == 0;
    struct place here = is_near ? tcp_place(arguments[2]) : tunnel_place(arguments[2]);
    target = is_near ? tunnel_place(arguments[3]) : tcp_place(arguments[3]);
    signal(SIGPIPE, SIG_IGN);
    int on = 1;
    listener = socket(here.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&here.address, here.size) < 0 || listen(listener, 4096) < 0)
        return perror("bind"), 1;
    uv_poll_t poll;
    uv_poll_init(uv_default_loop(), &poll, listener);
    uv_poll_start(&poll, UV_READABLE, acceptable);
    puts("ready");
    fflush(stdout);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
