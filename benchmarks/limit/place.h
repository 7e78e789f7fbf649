// Where the tunnel of the C paths is, in words:
//
//     PATH               a Unix socket
//     vsock:CID:PORT     AF_VSOCK; CID is 2, the host, or any, to listen
//     hybrid:PATH:PORT   port PORT of a guest's AF_VSOCK, behind a Unix socket as Firecracker and Cloud Hypervisor have
//                        it: the client writes "CONNECT PORT\n", and a line of the VMM's precedes the guest's bytes
#pragma once
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct place {
    struct sockaddr_storage address;
    socklen_t size;
    int guest_port; // of hybrid, else 0
};

static struct place unix_place(const char *path) {
    struct place place = {.size = sizeof(struct sockaddr_un)};
    struct sockaddr_un *address = (void *)&place.address;
    address->sun_family = AF_UNIX;
    snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
    return place;
}

static struct place tunnel_place(const char *words) {
    const char *port = strrchr(words, ':');
    if (strncmp(words, "hybrid:", 7) == 0 && port > words + 7) {
        char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
        snprintf(path, sizeof path, "%.*s", (int)(port - words - 7), words + 7);
        struct place place = unix_place(path);
        place.guest_port = atoi(port + 1);
        return place;
    }
    if (strncmp(words, "vsock:", 6) != 0 || port <= words + 6) return unix_place(words);
    struct place place = {.size = sizeof(struct sockaddr_vm)};
    struct sockaddr_vm *address = (void *)&place.address;
    address->svm_family = AF_VSOCK;
    address->svm_cid = strncmp(words + 6, "any:", 4) == 0 ? VMADDR_CID_ANY : (unsigned)atoi(words + 6);
    address->svm_port = (unsigned)atoi(port + 1);
    return place;
}

// A blocking connection to it, -1 when there is none. That of a hybrid place has asked for the guest's port, and takes
// bytes for it at once; what it reads first is the VMM's line.
static int connect_to(const struct place *place) {
    int fd = socket(place->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int is_there = connect(fd, (const void *)&place->address, place->size) == 0;
    if (is_there && place->guest_port) is_there = dprintf(fd, "CONNECT %d\n", place->guest_port) > 0;
    if (is_there) return fd;
    close(fd);
    return -1;
}
