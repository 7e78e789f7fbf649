// What Swift cannot import from libc's and the kernel's headers: calls and structures that glibc hides
// behind _GNU_SOURCE (defining it here would clash with Swift's own Glibc module), and macros.
// No logic lives here but the sandbox (Sandbox.c); CKernel.c asserts that the layouts are the system's.
#ifndef TWINPORT_CKERNEL_H
#define TWINPORT_CKERNEL_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __linux__
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets.h>
#endif

/// `struct mmsghdr` (recvmmsg(2)).
struct ckernel_mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

/// `struct in_pktinfo` (ip(7)).
struct ckernel_in_pktinfo {
    int ipi_ifindex;
    struct in_addr ipi_spec_dst;
    struct in_addr ipi_addr;
};

/// `struct in6_pktinfo` (RFC 3542 §6.1).
struct ckernel_in6_pktinfo {
    struct in6_addr ipi6_addr;
    unsigned int ipi6_ifindex;
};

/// accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC.
int ckernel_accept(int fd, struct sockaddr *address, socklen_t *length);
/// recvmmsg(2) with MSG_DONTWAIT.
int ckernel_recvmmsg(int fd, struct ckernel_mmsghdr *messages, unsigned int count);

/// CMSG_FIRSTHDR, CMSG_NXTHDR, CMSG_DATA, CMSG_SPACE, CMSG_LEN (cmsg(3)).
struct cmsghdr *ckernel_cmsg_first(struct msghdr *message);
struct cmsghdr *ckernel_cmsg_next(struct msghdr *message, struct cmsghdr *current);
unsigned char *ckernel_cmsg_data(struct cmsghdr *header);
size_t ckernel_cmsg_space(size_t length);
size_t ckernel_cmsg_len(size_t length);

/// The peer's credentials of a connected Unix socket (SO_PEERCRED). Returns 0, or -1 and errno.
int ckernel_peer_credentials(int fd, uid_t *uid, pid_t *pid);

#ifdef __linux__
/// Sets no_new_privs and, for every thread of this process, a seccomp filter under which the calls of
/// Sandbox.c's list fail with EPERM. Returns 0, or -1 and errno; ENOSYS where there are no filters.
int ckernel_deny_calls(void);
/// Keeps only the capabilities of `mask` (bit n: capability n) in every set of the calling thread, and out of
/// the bounding set for programs to come. Threads made later inherit it. Returns 0, or -1 and errno.
int ckernel_keep_capabilities(uint64_t mask);
/// With Landlock: from now on the calling thread, and threads it makes, may run no file, and write or make
/// none. Making sockets and folders, reading and removing stay as they were. Returns 0, or
/// -1 and errno: ENOSYS or EOPNOTSUPP where the kernel has no Landlock.
int ckernel_forbid_writing(void);
/// Makes a process in a user namespace of its own, which ends at once. Returns 0, or -1 and errno.
int ckernel_try_namespace(void);
#endif
/// mallopt(3): blocks up to `largest` bytes come from the heap, and so many freed bytes stay at its end.
/// Nothing where the C library is not glibc.
void ckernel_keep_freed_memory(int kept, int largest);
/// malloc_trim(3): gives every page back that holds nothing, wherever it lies. Nothing where the C library is not
/// glibc.
void ckernel_return_freed_memory(void);

#endif
