// Runs a program with a connection to a guest's port as descriptor 3: hybrid PATH PORT COMMAND…
//
// For a forwarder that cannot ask for the port itself (place.h). It takes this one's place: nothing is copied once more.
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>
#include "place.h"

int main(int count, char **arguments) {
    char line[128], byte = 0;
    if (count < 4) return fprintf(stderr, "usage: hybrid PATH PORT COMMAND…\n"), 2;
    snprintf(line, sizeof line, "hybrid:%s:%s", arguments[1], arguments[2]);
    struct place place = tunnel_place(line);
    int fd = connect_to(&place);
    while (byte != '\n')
        if (fd < 0 || read(fd, &byte, 1) != 1) return fprintf(stderr, "hybrid: nobody answers\n"), 1;
    dup2(fd, 3);
    fcntl(3, F_SETFD, 0);
    execvp(arguments[3], arguments + 3);
    return perror(arguments[3]), 1;
}
