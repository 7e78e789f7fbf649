// What a process gives up once it runs: see docs/architecture.md, "Least privilege".
#ifdef __linux__
#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define OUR_ARCHITECTURE 0
#endif

// Calls with which code that took over a process would go on: none of them is needed once it runs. Newer
// ones are given by number where the C library's headers may not know them.
static const unsigned int denied[] = {
    // other programs and other processes
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    SYS_pidfd_open, 438 /* pidfd_getfd */, SYS_pidfd_send_signal, SYS_process_madvise, 448 /* process_mrelease */,
    SYS_tkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_move_pages, SYS_migrate_pages,
    // other identities
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
    SYS_capset,
    // other views of the system
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, 428 /* open_tree */,
    429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */, 433 /* fspick */,
    442 /* mount_setattr */, SYS_swapon, SYS_swapoff, SYS_quotactl, 443 /* quotactl_fd */, SYS_open_by_handle_at,
    // files: making, moving, changing and giving away (open is looked at below)
    SYS_mknodat, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_truncate, SYS_fchown, SYS_utimensat,
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    463 /* setxattrat */, 466 /* removexattrat */, 469 /* file_setattr */,
    SYS_mq_open, SYS_mq_unlink,
    // memory, counters and queues of other processes (System V)
    SYS_shmget, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd,
    SYS_msgrcv, SYS_msgctl,
#if defined(__x86_64__)
    SYS_creat, SYS_rmdir, SYS_mknod, SYS_rename, SYS_link, SYS_symlink, SYS_chown, SYS_utime, SYS_utimes, SYS_futimesat,
#endif
    // the kernel itself
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_fanotify_init, SYS_reboot, SYS_syslog, SYS_acct,
    SYS_personality, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_sethostname, SYS_setdomainname,
    SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_vhangup, SYS_lookup_dcookie,
    SYS_nfsservctl,
#if defined(__x86_64__)
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib,
#endif
    467 /* open_tree_attr */,
    // io_uring does what other calls do, past this filter
    425, 426, 427,
};

// What the opener needs: it makes sockets, and the folders for them, and gives them to users.
static const unsigned int denied_but_to_opener[] = {
    SYS_mkdirat, SYS_fchmod, SYS_fchmodat, 452 /* fchmodat2 */, SYS_fchownat, SYS_setfsuid, SYS_setfsgid,
#if defined(__x86_64__)
    SYS_mkdir, SYS_chmod, SYS_lchown,
#endif
};

// What the opener does not need besides.
static const unsigned int denied_to_opener[] = {
    SYS_clone, SYS_kill, SYS_prlimit64, SYS_accept, SYS_accept4, SYS_ioctl,
#if defined(__x86_64__)
    SYS_fork, SYS_vfork,
#endif
};

// What the finder does not need besides: it reads below /proc and answers on the one socket that it has.
static const unsigned int denied_to_finder[] = {
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_unlinkat,
    SYS_clone, SYS_kill, SYS_prlimit64, SYS_setpriority, SYS_ioctl,
#if defined(__x86_64__)
    SYS_unlink, SYS_fork, SYS_vfork,
#endif
};

// Opening files for reading is needed: for writing, O_CREAT, O_TRUNC, and the bit of O_TMPFILE that O_DIRECTORY
// lacks are not.
static const unsigned int writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | 020000000;

// Starting threads is needed, namespaces are not (in a user namespace every capability can be had again):
// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. clone3 hides its flags; the C library uses
// clone where it is missing. openat2 hides its flags, too; programs that know it know openat.
static const unsigned int new_namespaces = 0x7e020000;
static const unsigned int clone3_call = 435, openat2_call = 437;

// Terminals take these for what a person typed (TIOCSTI), or paste (TIOCLINUX).
static const unsigned int terminal_input = 0x5412, terminal_paste = 0x541c;

// FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR; F_SETSIG, F_SETOWN_EX.
static const unsigned int set_flags = 0x40086602, set_attributes = 0x401c5820, set_signal = 10, set_owner = 15;

enum { longest = 250 };

enum { finder = 1, opener = 2 };

// A filter while it is made. The verdicts stand at its end, as far away as one jump reaches: `allow` first.
struct filter {
    struct sock_filter program[longest];
    size_t count;
    size_t allow;
};

static void add(struct filter *filter, struct sock_filter instruction) {
    if (filter->count < longest) filter->program[filter->count] = instruction;
    filter->count++;
}

static unsigned char away(const struct filter *filter, size_t target) {
    size_t distance = target - filter->count - 1;
    return distance < 256 ? (unsigned char)distance : 255;
}

static void load(struct filter *filter, size_t offset) {
    add(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned int)offset));
}

// Refuses a call: EPERM. `allow` is followed by that verdict, and then by ENOSYS.
static void deny(struct filter *filter, unsigned int call, int is_missing) {
    size_t verdict = filter->allow + (is_missing ? 2 : 1);
    add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, away(filter, verdict), 0));
}

enum check { has_flags, is_value, is_not_value };

// Three instructions: is it this call, and is its argument such that it is refused? The others go on behind them.
static void check(
    struct filter *filter, unsigned int call, unsigned int argument, enum check what, unsigned int value) {
    add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3));
    // The low half comes first: both architectures are little-endian.
    load(filter, offsetof(struct seccomp_data, args) + 8 * argument);
    size_t allow = filter->allow, refuse = allow + 1;
    unsigned short jump = what == has_flags ? BPF_JSET : BPF_JEQ;
    add(filter, (struct sock_filter)BPF_JUMP(
        BPF_JMP | jump | BPF_K, value, away(filter, what == is_not_value ? filter->count + 1 : refuse),
        away(filter, what == is_not_value ? refuse : filter->count + 1)));
    // Another check of the same call may follow: its number is looked at again.
    load(filter, offsetof(struct seccomp_data, nr));
}

static void check_arguments(struct filter *filter) {
    check(filter, SYS_clone, 0, has_flags, new_namespaces);
    check(filter, SYS_openat, 2, has_flags, writing);
#ifdef SYS_open
    check(filter, SYS_open, 1, has_flags, writing);
#endif
    check(filter, SYS_unlinkat, 2, has_flags, AT_REMOVEDIR);
    check(filter, SYS_ioctl, 1, is_value, terminal_input);
    check(filter, SYS_ioctl, 1, is_value, terminal_paste);
    // Attributes of a file that is open for reading: immutable, append-only.
    check(filter, SYS_ioctl, 1, is_value, set_flags);
    check(filter, SYS_ioctl, 1, is_value, set_attributes);
    // A signal of choice to a process of choice, once a descriptor is ready.
    check(filter, SYS_fcntl, 1, is_value, F_SETOWN);
    check(filter, SYS_fcntl, 1, is_value, set_owner);
    check(filter, SYS_fcntl, 1, is_value, set_signal);
    // Signals to itself (abort(3)) and its own limits are nobody else's.
    unsigned int self = (unsigned int)getpid();
    check(filter, SYS_kill, 0, is_not_value, self);
    check(filter, SYS_tgkill, 0, is_not_value, self);
    check(filter, SYS_prlimit64, 0, is_not_value, 0);
}

// Checks the architecture; on x86 refuses the x32 numbers; one comparison a call; the arguments of some.
static void make(struct filter *filter, int kind) {
    filter->count = 0;
    load(filter, offsetof(struct seccomp_data, arch));
    // Another architecture's calls have other numbers: none passes.
    add(filter, (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCHITECTURE, 1, 0));
    add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    load(filter, offsetof(struct seccomp_data, nr));
    add(filter, (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JGE | BPF_K, 0x40000000, away(filter, filter->allow + 1), 0));
    deny(filter, clone3_call, 1);
    deny(filter, openat2_call, 1);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) deny(filter, denied[i], 0);
    for (size_t i = 0; kind == finder && i < sizeof denied_to_finder / sizeof *denied_to_finder; i++) {
        deny(filter, denied_to_finder[i], 0);
    }
    for (size_t i = 0; kind == opener && i < sizeof denied_to_opener / sizeof *denied_to_opener; i++) {
        deny(filter, denied_to_opener[i], 0);
    }
    for (size_t i = 0; kind != opener && i < sizeof denied_but_to_opener / sizeof *denied_but_to_opener; i++) {
        deny(filter, denied_but_to_opener[i], 0);
    }
    check_arguments(filter);
    filter->allow = filter->count;
    add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

int ckernel_deny_calls(int kind) {
    if (OUR_ARCHITECTURE == 0) {
        errno = ENOSYS;
        return -1;
    }
    // Once to learn where the verdicts stand, once to aim at them.
    struct filter filter = {.allow = 0};
    make(&filter, kind);
    make(&filter, kind);
    // No jump can miss: they are shorter than 256, as the whole is.
    if (filter.count > longest) {
        errno = E2BIG;
        return -1;
    }
    struct sock_fprog program = {.len = (unsigned short)filter.count, .filter = filter.program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    // A positive result names a thread that could not be brought along.
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    if (result > 0) errno = EBUSY;
    return result == 0 ? 0 : -1;
}

int ckernel_keep_capabilities(uint64_t mask) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) return -1;
    for (int capability = 0; capability < 64; capability++) {
        if (mask >> capability & 1) continue;
        // EINVAL past the last capability this kernel knows, EPERM without CAP_SETPCAP: nothing to drop then.
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int word = 0; word < 2; word++) {
        uint32_t kept = (uint32_t)(mask >> (32 * word));
        data[word].permitted &= kept;
        data[word].effective &= kept;
        data[word].inheritable = 0;
    }
    return (int)syscall(SYS_capset, &header, data);
}

int ckernel_try_namespace(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    if (child < 0) return -1;
    waitpid((pid_t)child, NULL, 0);
    return 0;
}

// What older headers lack: LANDLOCK_ACCESS_FS_REFER, _TRUNCATE and _IOCTL_DEV, LANDLOCK_SCOPE_SIGNAL, and the fields of
// landlock_ruleset_attr that newer kernels know.
static const uint64_t access_refer = 1 << 13, access_truncate = 1 << 14, access_ioctl = 1 << 15, scope_signal = 1 << 1;
struct rules {
    uint64_t files, network, scoped;
};

static int allow_sockets(int set, const char *folder) {
    int place = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    // One that is not there holds no socket.
    if (place < 0) return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -1;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE, .parent_fd = place};
    int result = (int)syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    close(place);
    errno = error;
    return result;
}

int ckernel_landlock_version(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int ckernel_forbid_writing(const char *const *folders, size_t count) {
    int version = ckernel_landlock_version();
    if (version < 1) return -1;
    struct rules rules = {
        .files = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |
                 (version >= 2 ? access_refer : 0) | (version >= 3 ? access_truncate : 0) |
                 (version >= 5 ? access_ioctl : 0),
        .scoped = version >= 6 ? scope_signal : 0,
    };
    size_t size = version >= 6 ? sizeof rules : sizeof rules.files;
    int set = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (set < 0) return -1;
    int result = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    for (size_t i = 0; result == 0 && i < count; i++) result = allow_sockets(set, folders[i]);
    if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, set, 0);
    int error = errno;
    close(set);
    errno = error;
    return result;
}
#endif
