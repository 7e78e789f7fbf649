// The speed of light for datagrams: UDP through two processes and a framed stream, in C on libuv, for one client.
//
//     limit_udp near PORT PLACE    binds 127.0.0.1:PORT, answers go to whoever sent last
//     limit_udp far PLACE PORT     sends to 127.0.0.1:PORT from a connected socket
//
// place.h says what a PLACE is. A frame is eight bytes of length in host order and one datagram. What one wake-up finds,
// up to 32 datagrams, leaves in one write; a datagram that does not fit any more is dropped.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include "place.h"

enum { HEADER = 8, LARGEST = 65536, AT_ONCE = 32, ROOM = AT_ONCE * (HEADER + LARGEST), BUFFER = 1 << 20 };

static int is_near, in_line, tunnel = -1, datagrams, listener = -1;
static struct sockaddr_in peer;
static uv_poll_t tunnel_poll, datagram_poll, listener_poll;
static char outgoing[ROOM], incoming[ROOM];
static size_t incoming_size;

// Frames do not leave in parts: what the tunnel did not take is waited for.
static void give(const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t count = send(tunnel, bytes, size, MSG_NOSIGNAL);
        if (count < 0 && errno != EAGAIN && errno != EINTR) exit(1);
        if (count > 0) bytes += count, size -= count;
    }
}

static void datagrams_ready(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    size_t used = 0;
    for (int turn = 0; turn < AT_ONCE; turn++) {
        struct sockaddr_in sender;
        socklen_t size = sizeof sender;
        ssize_t count = recvfrom(
            datagrams, outgoing + used + HEADER, LARGEST, MSG_DONTWAIT, (void *)&sender, &size);
        if (count < 0) break;
        if (is_near) peer = sender;
        uint64_t length = count;
        memcpy(outgoing + used, &length, HEADER);
        used += HEADER + count;
    }
    if (tunnel >= 0) give(outgoing, used);
}

static void pass_on(const char *bytes, size_t size) {
    if (is_near)
        sendto(datagrams, bytes, size, MSG_DONTWAIT, (void *)&peer, sizeof peer);
    else
        send(datagrams, bytes, size, MSG_DONTWAIT);
}

// How many bytes at the start are the line with which a VMM says that the guest took the connection.
static size_t skip_line(void) {
    if (!in_line) return 0;
    const char *end = memchr(incoming, '\n', incoming_size);
    in_line = !end;
    return end ? (size_t)(end - incoming) + 1 : incoming_size;
}

static void tunnel_ready(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    ssize_t count = recv(tunnel, incoming + incoming_size, ROOM - incoming_size, MSG_DONTWAIT);
    if (count <= 0) {
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
        exit(0);
    }
    incoming_size += count;
    size_t position = skip_line();
    uint64_t length;
    while (incoming_size - position >= HEADER) {
        memcpy(&length, incoming + position, HEADER);
        if (length > LARGEST) exit(1);
        if (incoming_size - position - HEADER < length) break;
        pass_on(incoming + position + HEADER, length);
        position += HEADER + length;
    }
    memmove(incoming, incoming + position, incoming_size - position);
    incoming_size -= position;
}

static void watch(uv_poll_t *poll, int fd, uv_poll_cb ready) {
    uv_poll_init(uv_default_loop(), poll, fd);
    uv_poll_start(poll, UV_READABLE, ready);
}

static void begin(int fd) {
    int size = BUFFER;
    tunnel = fd;
    setsockopt(tunnel, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    watch(&tunnel_poll, tunnel, tunnel_ready);
}

static void acceptable(uv_poll_t *poll, int status, int events) {
    (void)poll, (void)status, (void)events;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && tunnel < 0) begin(fd);
}

int main(int count, char **arguments) {
    if (count != 4) return fprintf(stderr, "usage: limit_udp near PORT PLACE | far PLACE PORT\n"), 2;
    is_near = strcmp(arguments[1], "near") == 0;
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct place place = tunnel_place(arguments[is_near ? 3 : 2]);
    there.sin_port = htons(atoi(arguments[is_near ? 2 : 3]));
    int size = BUFFER;
    datagrams = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(datagrams, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if ((is_near ? bind : connect)(datagrams, (void *)&there, sizeof there) < 0) return perror("udp"), 1;
    if (is_near) {
        int fd = connect_to(&place);
        if (fd < 0) return perror("tunnel"), 1;
        in_line = place.guest_port != 0;
        begin(fd);
    } else {
        listener = socket(place.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(listener, (void *)&place.address, place.size) < 0 || listen(listener, 1) < 0)
            return perror("tunnel"), 1;
        watch(&listener_poll, listener, acceptable);
    }
    watch(&datagram_poll, datagrams, datagrams_ready);
    puts("ready");
    fflush(stdout);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
