// What Swift cannot import from libc's and the kernel's headers: calls and structures that glibc hides
// behind _GNU_SOURCE (defining it here would clash with Swift's own Glibc module), and macros.
// No logic lives here but the sandbox (Sandbox.c) and the finder's beginning (Finder.c); CKernel.c asserts that the layouts are the system's.
#ifndef TWINPORT_CKERNEL_H
#define TWINPORT_CKERNEL_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/// CMSG_FIRSTHDR, CMSG_NXTHDR, CMSG_DATA, CMSG_SPACE, CMSG_LEN (cmsg(3)).
struct cmsghdr *ckernel_cmsg_first(struct msghdr *message);
struct cmsghdr *ckernel_cmsg_next(struct msghdr *message, struct cmsghdr *current);
unsigned char *ckernel_cmsg_data(struct cmsghdr *header);
size_t ckernel_cmsg_space(size_t length);
size_t ckernel_cmsg_len(size_t length);

// All that follows exists on Linux only. Swift calls it from files in `Linux/` folders.
#ifdef __linux__
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets.h>

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
/// sendmmsg(2) with MSG_DONTWAIT and MSG_NOSIGNAL.
int ckernel_sendmmsg(int fd, struct ckernel_mmsghdr *messages, unsigned int count);

/// The peer's credentials of a connected Unix socket (SO_PEERCRED). Returns 0, or -1 and errno.
int ckernel_peer_credentials(int fd, uid_t *uid, pid_t *pid);

/// Sets no_new_privs and, for every thread of this process, a seccomp filter under which the calls of
/// Sandbox.c's list fail with EPERM, more of them in the finder (1), and other ones in the opener (2). Returns 0, or -1
/// and errno; ENOSYS where there are no filters.
int ckernel_deny_calls(int kind);

/// Sends a message of a socket pair, and a descriptor with it unless that is negative. Flags and result as of sendmsg(2).
ssize_t ckernel_send_with_descriptor(int socket, const void *bytes, size_t count, int descriptor, int flags);
/// Receives a message, and the descriptor that came with it, or -1. Does not wait. Returns as recvmsg(2).
ssize_t ckernel_receive_with_descriptor(int socket, void *bytes, size_t count, int *descriptor);
/// Has the calling thread use the file system as this user (setfsuid(2)). Returns 0, or -1 and errno: nothing has changed
/// then.
int ckernel_act_as(uid_t user, gid_t group);
/// Opens a file of a folder to go on from it (O_PATH), a link itself. Returns the descriptor, or -1 and errno.
int ckernel_open_path(int folder, const char *name);
/// Gives away the file of such a descriptor; -1: not to another user, or group. Returns 0, or -1 and errno.
int ckernel_give(int file, uid_t user, gid_t group);
/// Lets a child go on after its parent: it ends when its pipe does.
void ckernel_outlive_parent(void);
/// Keeps only the capabilities of `mask` (bit n: capability n) in every set of the calling thread, and out of
/// the bounding set for programs to come. Threads made later inherit it. Returns 0, or -1 and errno.
int ckernel_keep_capabilities(uint64_t mask);
/// With Landlock: from now on the calling thread, and threads it makes, may not run, write, make or remove files, nor
/// look into or signal other processes. They may make sockets and remove files in and below `folders`; those that
/// do not exist are passed over. Returns 0, or -1 and errno: ENOSYS or EOPNOTSUPP where the kernel has no Landlock.
int ckernel_forbid_writing(const char *const *folders, size_t count);
/// Which Landlock the kernel has, or -1 and errno.
int ckernel_landlock_version(void);
/// Splits off the child that looks into other processes, called `name`. It has no descriptor but its `socket`
/// (SOCK_SEQPACKET) to the parent, ignores signals, and ends with the parent. Call it while there is one thread. Returns
/// 0 in the child, its number in the parent, or -1 and errno.
int ckernel_fork_finder(const char *name, int *socket);
/// The folder of a hierarchy of control groups: "" is that of version 2, others as /proc/PID/cgroup names them. Nothing is
/// mounted anywhere. Returns a descriptor, or -1 and errno: it takes CAP_SYS_ADMIN.
int ckernel_open_groups(const char *hierarchy);
/// Owner and mode (with the file's type) of `path` below a folder. Returns 0, or -1 and errno.
int ckernel_folder_owner(int folder, const char *path, unsigned int *owner, unsigned int *mode);
/// Makes a process in a user namespace of its own, which ends at once. Returns 0, or -1 and errno.
int ckernel_try_namespace(void);

/// What an event of ``ckernel_watch_sockets`` tells.
enum {
    /// A TCP socket of any namespace begins to listen, or a listening one closed. The event comes a moment before
    /// the socket can be seen by others. Nothing else is set.
    CKERNEL_EVENT_LISTEN = 1,
    /// A process calls bind(2) for `address` and `port`, whatever comes of it.
    CKERNEL_EVENT_WANTED = 2,
    /// A bind(2) succeeded: the socket has `port`.
    CKERNEL_EVENT_BOUND = 3,
    /// A UDP socket whose port the kernel chose at bind(2) is about to send for the first time.
    CKERNEL_EVENT_SENT = 4,
    /// A flag of CKERNEL_EVENT_BOUND: bind(2) asked for port 0.
    CKERNEL_EVENT_KERNEL_CHOSE = 1,
    /// A flag of these two: it is root who calls.
    CKERNEL_EVENT_BY_ROOT = 2,
    /// The size of the ring, in bytes.
    CKERNEL_EVENT_RING = 1 << 16,
    /// How many descriptors keep the programs in place.
    CKERNEL_EVENT_LINKS = 7,
};

/// One event.
struct ckernel_socket_event {
    uint32_t kind;
    /// Which process asks; 0 where the kernel does not tell.
    uint32_t process;
    /// In host order.
    uint16_t port;
    /// 4 or 6.
    uint8_t family;
    /// As in IPPROTO_TCP.
    uint8_t protocol;
    uint32_t flags;
    /// In network order; an IPv4 address takes the first word.
    uint32_t address[4];
};

/// Has the kernel write an event into a ring for what happens to the sockets of one network namespace, which is
/// named by its cookie (SO_NETNS_COOKIE). Returns the ring's descriptor, and in `links` those that keep the programs in
/// place. `threads` is the descriptor of three words that can be mapped: what two threads and a process with these
/// numbers (in the first process namespace) do is left out. Otherwise returns -1 and errno: EPERM without privilege, EXDEV where this
/// process sees only a part of the control groups, otherwise what the kernel lacks.
int ckernel_watch_sockets(uint64_t network, int *thread, int links[CKERNEL_EVENT_LINKS]);

/// gettid(2), which glibc hides.
uint32_t ckernel_thread_number(void);

/// Reads a number that the kernel writes meanwhile, and all that it wrote before that.
static inline uint64_t ckernel_load_acquire(const uint64_t *number) {
    return __atomic_load_n(number, __ATOMIC_ACQUIRE);
}
/// Writes a number that the kernel reads meanwhile, after all that was read before.
static inline void ckernel_store_release(uint64_t *number, uint64_t value) {
    __atomic_store_n(number, value, __ATOMIC_RELEASE);
}

/// mallopt(3): blocks up to `largest` bytes come from the heap, and up to `kept` freed bytes stay at its end.
/// Does nothing where the C library is not glibc.
void ckernel_keep_freed_memory(int kept, int largest);
/// malloc_trim(3): gives back every page that holds nothing, wherever it lies. Does nothing where the C library
/// is not glibc.
void ckernel_return_freed_memory(void);
/// Names the calling thread for `top -H` and debuggers; Linux keeps 15 bytes.
void ckernel_name_thread(const char *name);
/// Keeps what this process has in memory from other processes of its user: PR_SET_DUMPABLE 0 and RLIMIT_CORE 0. Root with
/// CAP_SYS_PTRACE still reads it. Returns 0, or -1 and errno.
int ckernel_hide_memory(void);
/// Overwrites memory with zeros, also where nobody reads it again.
void ckernel_wipe(void *bytes, size_t count);
#endif

#endif
