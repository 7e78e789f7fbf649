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
static const int denied[] = {
    // other programs and other processes
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,
    SYS_pidfd_open, 438 /* pidfd_getfd */, SYS_pidfd_send_signal, SYS_process_madvise,
    // other identities
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups,
    SYS_setfsuid, SYS_setfsgid, SYS_capset,
    // other views of the system
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, 428 /* open_tree */,
    429 /* move_mount */, 430 /* fsopen */, 431 /* fsconfig */, 432 /* fsmount */, 433 /* fspick */,
    442 /* mount_setattr */, SYS_swapon, SYS_swapoff, SYS_quotactl, SYS_open_by_handle_at,
    // files: making, moving and giving away (open is looked at below; openat2 hides its flags)
    437 /* openat2 */, SYS_renameat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_truncate, SYS_fchown,
    SYS_fchownat, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr,
#if defined(__x86_64__)
    SYS_creat, SYS_rename, SYS_link, SYS_symlink, SYS_chown, SYS_lchown,
#endif
    // the kernel itself
    SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_reboot, SYS_syslog, SYS_acct, SYS_personality,
    SYS_keyctl, SYS_add_key, SYS_request_key, SYS_sethostname, SYS_setdomainname, SYS_settimeofday,
    SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_vhangup, SYS_lookup_dcookie, SYS_nfsservctl,
#if defined(__x86_64__)
    SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_uselib, SYS_mknod,
#endif
    SYS_mknodat,
    463 /* setxattrat */, 467 /* open_tree_attr */,
    // io_uring does what other calls do, past this filter
    425, 426, 427,
};

// Opening files is needed, making new ones is not: O_CREAT, and the bit of O_TMPFILE that O_DIRECTORY lacks.
static const unsigned int making = O_CREAT | 020000000;

// Starting threads is needed, namespaces are not (in a user namespace every capability can be had again):
// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. clone3 hides its flags; the C library uses
// clone where it is missing.
static const unsigned int new_namespaces = 0x7e020000;
static const unsigned int clone3_call = 435;

enum {
    denied_count = sizeof denied / sizeof *denied,
    prologue = 5,
#ifdef SYS_open
    epilogue = 9,
#else
    epilogue = 6,
#endif
};

// Three instructions: is it this call, and does its argument have one of these flags? `allow` is followed by the
// refusal.
static size_t check_flags(
    struct sock_filter *program, size_t n, unsigned int call, unsigned int argument, unsigned int flags,
    size_t allow) {
    program[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 2);
    // The low half comes first: both architectures are little-endian.
    program[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * argument);
    program[n] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JSET | BPF_K, flags, (unsigned char)(allow + 1 - n - 1),
        (unsigned char)(allow - n - 1));
    return n + 1;
}

int ckernel_deny_calls(void) {
    if (OUR_ARCHITECTURE == 0) {
        errno = ENOSYS;
        return -1;
    }
    // Check the architecture; on x86 refuse the x32 numbers; one comparison a call; the flags of open and clone.
    enum { allow = prologue + denied_count + epilogue, deny, missing };
    struct sock_filter program[missing + 1];
    size_t n = 0;
    program[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    // Another architecture's calls have other numbers: none passes.
    program[n] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCHITECTURE, 0, (unsigned char)(deny - n - 1));
    n++;
    program[n++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    program[n] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JGE | BPF_K, 0x40000000, (unsigned char)(deny - n - 1), 0);
    n++;
    program[n] = (struct sock_filter)BPF_JUMP(
        BPF_JMP | BPF_JEQ | BPF_K, clone3_call, (unsigned char)(missing - n - 1), 0);
    n++;
    for (size_t i = 0; i < denied_count; i++, n++) {
        program[n] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)denied[i], (unsigned char)(deny - n - 1), 0);
    }
    n = check_flags(program, n, SYS_clone, 0, new_namespaces, allow);
    n = check_flags(program, n, SYS_openat, 2, making, allow);
#ifdef SYS_open
    n = check_flags(program, n, SYS_open, 1, making, allow);
#endif
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);

    struct sock_fprog filter = {.len = (unsigned short)n, .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    // A positive result names a thread that could not be brought along.
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
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

// LANDLOCK_ACCESS_FS_TRUNCATE, which older headers lack.
static const uint64_t access_truncate = 1 << 14;

int ckernel_forbid_writing(void) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return -1;
    const uint64_t writing = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                             (version >= 3 ? access_truncate : 0);
    struct landlock_ruleset_attr rules = {
        .handled_access_fs = writing | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                             LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                             LANDLOCK_ACCESS_FS_MAKE_SYM,
    };
    int set = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof rules.handled_access_fs, 0);
    if (set < 0) return -1;
    int result = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (result == 0) result = (int)syscall(SYS_landlock_restrict_self, set, 0);
    int error = errno;
    close(set);
    errno = error;
    return result;
}
#endif
