// Connections that come and go: connect, ask, be answered, close.
//
// churn serve ADDRESS PORT            answers each connection's byte and waits for its end
// churn connect ADDRESS PORT SECONDS WORKERS
//     prints `rate N connections/s, F failed` at the end
//
// In C, because the load must not cost more than what it loads.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in endpoint(char **words) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    if (inet_pton(AF_INET, words[0], &a.sin_addr) != 1) exit(2);
    return a;
}

static void serve(char **words) {
    struct sockaddr_in a = endpoint(words);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) || listen(listener, 4096)) exit(3);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (accepted < 0) continue;
                event.data.fd = accepted;
                epoll_ctl(poll, EPOLL_CTL_ADD, accepted, &event);
                continue;
            }
            char byte;
            ssize_t got = recv(fd, &byte, 1, 0);
            if (got == 1) send(fd, &byte, 1, MSG_NOSIGNAL);
            if (got == 0 || (got < 0 && errno != EAGAIN)) close(fd);
        }
    }
}

static int once(const struct sockaddr_in *a) {
    struct timeval limit = {.tv_sec = 5};
    int one = 1, ok = 0, s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0) return 0;
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char byte = 'q';
    if (connect(s, (const struct sockaddr *)a, sizeof *a) == 0 && send(s, &byte, 1, MSG_NOSIGNAL) == 1 &&
        recv(s, &byte, 1, 0) == 1)
        ok = byte == 'q';
    close(s);
    return ok;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "serve")) serve(argv + 2);
    if (argc != 6) return 2;
    struct sockaddr_in a = endpoint(argv + 2);
    double seconds = atof(argv[4]);
    int workers = atoi(argv[5]);
    long(*counts)[2] = mmap(NULL, workers * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < workers; i++)
        if (fork() == 0) {
            double end = now() + seconds;
            while (now() < end) counts[i][!once(&a)]++;
            _exit(0);
        }
    while (wait(NULL) > 0) {}
    long good = 0, bad = 0;
    for (int i = 0; i < workers; i++) good += counts[i][0], bad += counts[i][1];
    printf("rate %.0f connections/s, %ld failed\n", good / seconds, bad);
    return 0;
}
