/* Listens on COUNT TCP ports from FIRST on, and tells each client which one it reached. listen_range FIRST COUNT */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char **arguments) {
    int first = count == 3 ? atoi(arguments[1]) : 0, number = count == 3 ? atoi(arguments[2]) : 0;
    struct pollfd *listeners = calloc((size_t)number, sizeof *listeners);
    for (int i = 0; i < number; i++) {
        struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((unsigned short)(first + i))};
        int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&place, sizeof place) || listen(fd, 16)) {
            perror("listen_range");
            return 1;
        }
        listeners[i] = (struct pollfd){fd, POLLIN, 0};
    }
    while (poll(listeners, (nfds_t)number, -1) > 0) {
        for (int i = 0; i < number; i++) {
            if (!listeners[i].revents) continue;
            int client = accept(listeners[i].fd, NULL, NULL);
            dprintf(client, "%d\n", first + i);
            close(client);
        }
    }
    return 0;
}
