// What code that took over a thread of a program could do: makes system calls in every thread of a running process, as a
// debugger does, and says how each went.
//
// inside PID VICTIM FOLDER SOCKETS
//     VICTIM    a process that the acts are tried on: the memory of this one, and its signals
//     FOLDER    where `file` is; what is made there is removed
//     SOCKETS   a folder in which the program may make sockets, and nothing else
//
// One line an act and thread: THREAD/NAME ACT: refused ERROR, or possible. Harmless where it is possible.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__)
#error "registers are those of x86-64"
#endif

static pid_t thread;
static struct user_regs_struct saved;
static unsigned long scratch;
static char name[64];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// A thread at rest stands behind a `syscall` instruction: that one is used again.
static int stop(pid_t number) {
    thread = number;
    for (int attempt = 0; attempt < 200; attempt++) {
        if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0) fail("PTRACE_SEIZE");
        if (ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) fail("PTRACE_INTERRUPT");
        waitpid(thread, NULL, __WALL);
        if (ptrace(PTRACE_GETREGS, thread, 0, &saved) != 0) fail("PTRACE_GETREGS");
        long code = ptrace(PTRACE_PEEKTEXT, thread, saved.rip - 2, 0);
        // Below the red zone.
        scratch = (saved.rsp - 8192) & ~15UL;
        if ((code & 0xffff) == 0x050f) return 0;
        ptrace(PTRACE_DETACH, thread, 0, 0);
        usleep(5000);
    }
    return -1;
}

static void put(unsigned long where, const void *data, size_t size) {
    unsigned long words[64] = {0};
    if (size > sizeof words) fail("too long");
    memcpy(words, data, size);
    for (size_t i = 0; i * 8 < size; i++) {
        if (ptrace(PTRACE_POKEDATA, thread, where + 8 * i, words[i]) != 0) fail("PTRACE_POKEDATA");
    }
}

static long call(long number, long a, long b, long c, long d) {
    struct user_regs_struct registers = saved;
    registers.rip -= 2;
    registers.rax = (unsigned long)number;
    registers.orig_rax = -1UL;
    registers.rdi = (unsigned long)a;
    registers.rsi = (unsigned long)b;
    registers.rdx = (unsigned long)c;
    registers.r10 = (unsigned long)d;
    registers.r8 = registers.r9 = 0;
    if (ptrace(PTRACE_SETREGS, thread, 0, &registers) != 0) fail("PTRACE_SETREGS");
    int status;
    do {
        if (ptrace(PTRACE_SINGLESTEP, thread, 0, 0) != 0) fail("PTRACE_SINGLESTEP");
        if (waitpid(thread, &status, __WALL) != thread) fail("waitpid");
    } while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP);
    if (ptrace(PTRACE_GETREGS, thread, 0, &registers) != 0) fail("PTRACE_GETREGS");
    return (long)registers.rax;
}

static void resume(void) {
    ptrace(PTRACE_SETREGS, thread, 0, &saved);
    ptrace(PTRACE_DETACH, thread, 0, 0);
}

static long text(const char *value, int slot) {
    put(scratch + 512 * (unsigned long)slot, value, strlen(value) + 1);
    return (long)scratch + 512 * slot;
}

static void say(const char *act, long result) {
    if (result < 0) printf("%d/%s %s: refused %s\n", thread, name, act, strerror((int)-result));
    else printf("%d/%s %s: possible\n", thread, name, act);
}

static void opening(const char *act, const char *path, int flags) {
    long result = call(SYS_openat, AT_FDCWD, text(path, 0), flags, 0600);
    say(act, result);
    if (result >= 0) call(SYS_close, result, 0, 0, 0);
}

static void files(const char *folder) {
    char file[256], other[256];
    snprintf(file, sizeof file, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    opening("open for writing", file, O_WRONLY);
    opening("open to read and write", file, O_RDWR);
    opening("open to append", file, O_WRONLY | O_APPEND);
    opening("open and truncate", file, O_RDONLY | O_TRUNC);
    opening("make a file", other, O_WRONLY | O_CREAT);
    unlink(other);
    opening("make a file without a name", folder, O_RDWR | O_TMPFILE);
    long how[3] = {O_WRONLY, 0, 0};
    put(scratch + 1024, how, sizeof how);
    say("open2 for writing", call(437, AT_FDCWD, text(file, 0), (long)scratch + 1024, sizeof how));
    say("creat", call(SYS_creat, text(other, 0), 0600, 0, 0));
    unlink(other);
    say("truncate", call(SYS_truncate, text(file, 0), 4, 0, 0));
    say("set-uid", call(SYS_chmod, text(file, 0), 04755, 0, 0));
    say("set-uid at", call(SYS_fchmodat, AT_FDCWD, text(file, 0), 04755, 0));
    say("set-uid at 2", call(452, AT_FDCWD, text(file, 0), 04755, 0));
    long descriptor = call(SYS_openat, AT_FDCWD, text(file, 0), O_RDONLY, 0);
    say("set-uid by descriptor", call(SYS_fchmod, descriptor, 04755, 0, 0));
    say("own", call(SYS_fchown, descriptor, 0, 0, 0));
    unsigned int flags = 0;
    put(scratch + 1024, &flags, sizeof flags);
    say("flags by descriptor", call(SYS_ioctl, descriptor, 0x40086602, (long)scratch + 1024, 0));
    if (descriptor >= 0) call(SYS_close, descriptor, 0, 0, 0);
    say("own by path", call(SYS_chown, text(file, 0), 0, 0, 0));
    say("times", call(SYS_utimensat, AT_FDCWD, text(file, 0), 0, 0));
    say("attribute", call(SYS_setxattr, text(file, 0), text("user.twinport", 1), text("x", 2), 1));
    say("make a folder", call(SYS_mkdir, text(other, 0), 0700, 0, 0));
    rmdir(other);
    say("make a folder at", call(SYS_mkdirat, AT_FDCWD, text(other, 0), 0700, 0));
    rmdir(other);
    say("make a pipe", call(SYS_mknod, text(other, 0), S_IFIFO | 0600, 0, 0));
    unlink(other);
    say("make a device", call(SYS_mknodat, AT_FDCWD, text(other, 0), S_IFCHR | 0600, 0x103));
    unlink(other);
    say("symbolic link", call(SYS_symlink, text(file, 0), text(other, 1), 0, 0));
    unlink(other);
    say("link", call(SYS_link, text(file, 0), text(other, 1), 0, 0));
    unlink(other);
    say("rename", call(SYS_rename, text(file, 0), text(other, 1), 0, 0));
    rename(other, file);
    say("exchange", call(SYS_renameat2, AT_FDCWD, text(file, 0), AT_FDCWD, text(other, 1)));
    rename(other, file);
    mkdir(other, 0700);
    say("remove a folder", call(SYS_rmdir, text(other, 0), 0, 0, 0));
    mkdir(other, 0700);
    say("remove a folder at", call(SYS_unlinkat, AT_FDCWD, text(other, 0), AT_REMOVEDIR, 0));
    rmdir(other);
    close(open(other, O_WRONLY | O_CREAT, 0600));
    say("remove a file", call(SYS_unlink, text(other, 0), 0, 0, 0));
    unlink(other);
}

static void binding(const char *act, const char *folder) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/inside.sock", folder);
    long descriptor = call(SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0);
    put(scratch, &address, sizeof address);
    long bound = call(SYS_bind, descriptor, (long)scratch, sizeof address, 0);
    say(act, descriptor < 0 ? descriptor : bound);
    if (descriptor >= 0) call(SYS_close, descriptor, 0, 0, 0);
    unlink(address.sun_path);
}

static void processes(pid_t victim) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    opening("write another's memory", path, O_RDWR);
    opening("read another's memory", path, O_RDONLY);
    snprintf(path, sizeof path, "/proc/%d/environ", victim);
    opening("read another's environment", path, O_RDONLY);
    opening("write its own memory", "/proc/self/mem", O_RDWR);
    struct iovec none = {0, 0};
    put(scratch + 1024, &none, sizeof none);
    say("process_vm_readv", call(SYS_process_vm_readv, victim, (long)scratch + 1024, 0, (long)scratch + 1024));
    say("process_vm_writev", call(SYS_process_vm_writev, victim, (long)scratch + 1024, 0, (long)scratch + 1024));
    long traced = call(SYS_ptrace, PTRACE_SEIZE, victim, 0, 0);
    say("trace another", traced);
    if (traced >= 0) {
        call(SYS_ptrace, PTRACE_INTERRUPT, victim, 0, 0);
        usleep(50000);
        call(SYS_ptrace, PTRACE_DETACH, victim, 0, 0);
    }
    say("signal another", call(SYS_kill, victim, 0, 0, 0));
    say("signal another's thread", call(SYS_tgkill, victim, victim, SIGWINCH, 0));
    say("descriptor of a process", call(SYS_pidfd_open, victim, 0, 0, 0));
    long socket = call(SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0);
    say("signal of choice", call(SYS_fcntl, socket, 10 /* F_SETSIG */, SIGWINCH, 0));
    say("signal another by a descriptor", call(SYS_fcntl, socket, F_SETOWN, victim, 0));
    if (socket >= 0) call(SYS_close, socket, 0, 0, 0);
    int segment = shmget(IPC_PRIVATE, 4096, 0600);
    long attached = call(SYS_shmat, segment, 0, SHM_RDONLY, 0);
    // Addresses of the upper half there are none.
    say("attach another's memory", attached < 0 ? attached : 0);
    if (attached > 0) call(SYS_shmdt, attached, 0, 0, 0);
    say("remove another's memory", call(SYS_shmctl, segment, IPC_RMID, 0, 0));
    shmctl(segment, IPC_RMID, 0);
    say("another's limits", call(SYS_prlimit64, victim, 7, 0, 0));
    // A folder is not run: EACCES is what a kernel without restrictions answers.
    long ran = call(SYS_execve, text("/", 0), 0, 0, 0);
    say("run a program", ran == -EACCES ? 0 : ran);
    say("another user", call(SYS_setuid, 0, 0, 0, 0));
    say("another root", call(SYS_chroot, text("/", 0), 0, 0, 0));
    say("mount", call(SYS_mount, text("none", 0), text("/dev/null/none", 1), text("tmpfs", 2), 0) == -EPERM ? -EPERM : 0);
    opening("core pattern", "/proc/sys/kernel/core_pattern", O_WRONLY);
    opening("sysrq", "/proc/sysrq-trigger", O_WRONLY);
    opening("memory of the kernel", "/dev/kmsg", O_WRONLY);
    opening("cron", "/etc/passwd", O_WRONLY | O_APPEND);
}

int main(int count, char **words) {
    if (count != 5) return 2;
    char tasks[64], path[128];
    snprintf(tasks, sizeof tasks, "/proc/%s/task", words[1]);
    DIR *folder = opendir(tasks);
    if (!folder) fail(tasks);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%.20s/comm", tasks, entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file || !fgets(name, sizeof name, file)) continue;
        fclose(file);
        name[strcspn(name, "\n")] = 0;
        if (stop(atoi(entry->d_name)) != 0) {
            printf("%s/%s never rests\n", entry->d_name, name);
            return 1;
        }
        files(words[3]);
        binding("make a socket elsewhere", words[3]);
        binding("make a socket in its folder", words[4]);
        processes(atoi(words[2]));
        resume();
        fflush(stdout);
    }
    closedir(folder);
}
