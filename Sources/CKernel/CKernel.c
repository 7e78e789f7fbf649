#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#ifdef __GLIBC__
#include <malloc.h>
#endif

struct cmsghdr *ckernel_cmsg_first(struct msghdr *message) { return CMSG_FIRSTHDR(message); }

struct cmsghdr *ckernel_cmsg_next(struct msghdr *message, struct cmsghdr *current) {
    return CMSG_NXTHDR(message, current);
}

unsigned char *ckernel_cmsg_data(struct cmsghdr *header) { return CMSG_DATA(header); }

size_t ckernel_cmsg_space(size_t length) { return CMSG_SPACE(length); }

size_t ckernel_cmsg_len(size_t length) { return CMSG_LEN(length); }

void ckernel_wipe(void *bytes, size_t count) {
    volatile unsigned char *next = bytes;
    while (count-- > 0) *next++ = 0;
}

void ckernel_name_thread(const char *name) {
#ifdef __linux__
    prctl(PR_SET_NAME, name, 0, 0, 0);
#else
    pthread_setname_np(name);
#endif
}

int ckernel_hide_memory(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0) return -1;
#ifdef __linux__
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#else
    return 0;
#endif
}

#ifdef __linux__
_Static_assert(sizeof(struct ckernel_mmsghdr) == sizeof(struct mmsghdr), "mmsghdr");
_Static_assert(offsetof(struct ckernel_mmsghdr, msg_len) == offsetof(struct mmsghdr, msg_len), "mmsghdr");
_Static_assert(sizeof(struct ckernel_in_pktinfo) == sizeof(struct in_pktinfo), "in_pktinfo");
_Static_assert(
    offsetof(struct ckernel_in_pktinfo, ipi_addr) == offsetof(struct in_pktinfo, ipi_addr), "in_pktinfo");
_Static_assert(sizeof(struct ckernel_in6_pktinfo) == sizeof(struct in6_pktinfo), "in6_pktinfo");

int ckernel_accept(int fd, struct sockaddr *address, socklen_t *length) {
    return accept4(fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int ckernel_recvmmsg(int fd, struct ckernel_mmsghdr *messages, unsigned int count) {
    return recvmmsg(fd, (struct mmsghdr *)messages, count, MSG_DONTWAIT, NULL);
}

int ckernel_sendmmsg(int fd, struct ckernel_mmsghdr *messages, unsigned int count) {
    return sendmmsg(fd, (struct mmsghdr *)messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int ckernel_peer_credentials(int fd, uid_t *uid, pid_t *pid) {
    struct ucred credentials;
    socklen_t length = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return -1;
    *uid = credentials.uid;
    *pid = credentials.pid;
    return 0;
}

void ckernel_keep_freed_memory(int kept, int largest) {
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, kept);
    mallopt(M_MMAP_THRESHOLD, largest);
#else
    (void)kept, (void)largest;
#endif
}

void ckernel_return_freed_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
#endif
