// Descriptors that one process hands another, and the identity under which files are made: see
// Sockets/Linux/OpenerProcess.swift.
#ifdef __linux__
#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

ssize_t ckernel_send_with_descriptor(int socket, const void *bytes, size_t count, int descriptor, int flags) {
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | flags);
}

ssize_t ckernel_receive_with_descriptor(int socket, void *bytes, size_t count, int *descriptor) {
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    *descriptor = -1;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (received < 0) return received;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
    }
    return received;
}

int ckernel_act_as(uid_t user, gid_t group) {
    // Both return the identity of before, and fail without a word: a second call tells.
    gid_t old_group = (gid_t)setfsgid(group);
    uid_t old_user = (uid_t)setfsuid(user);
    if ((uid_t)setfsuid(user) == user && (gid_t)setfsgid(group) == group) return 0;
    setfsuid(old_user);
    setfsgid(old_group);
    errno = EPERM;
    return -1;
}

int ckernel_open_path(int folder, const char *name) {
    return openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

int ckernel_give(int file, uid_t user, gid_t group) { return fchownat(file, "", user, group, AT_EMPTY_PATH); }

void ckernel_outlive_parent(void) { prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); }
#endif
