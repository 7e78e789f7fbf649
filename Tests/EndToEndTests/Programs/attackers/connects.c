/* Connects to 127.0.0.1:PORT as fast as it can, and keeps the last 512 connections: connects PORT SECONDS BYTES. On each
 * one it says so many bytes, which begin as a record of the handshake does. Prints `ready`, and at the end the rate. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments) {
    if (count != 4) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char bytes[50];
    memset(bytes, 7, sizeof bytes);
    bytes[0] = 0;
    bytes[1] = 48;
    int kept[512], size = atoi(arguments[3]);
    for (int i = 0; i < 512; i++) kept[i] = -1;
    time_t begin = time(NULL), end = begin + atoi(arguments[2]);
    long made = 0;
    puts("ready");
    fflush(stdout);
    for (int i = 0; time(NULL) < end; i = (i + 1) % 512) {
        if (kept[i] >= 0) {
            struct linger linger = {1, 0};
            setsockopt(kept[i], SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
            close(kept[i]);
        }
        kept[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(kept[i], (struct sockaddr *)&address, sizeof address);
        if (size > 0) send(kept[i], bytes, size, MSG_NOSIGNAL);
        made++;
    }
    printf("%ld connections, %ld a second\n", made, made / (time(NULL) - begin));
    return 0;
}
