// The child process that looks into other processes: see Listeners/Linux/FinderProcess.swift.
#ifdef __linux__
#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    call_close_range = 436,
    call_fsopen = 430,
    call_fsconfig = 431,
    call_fsmount = 432,
    cloexec = 1,
    set_flag = 0,
    set_string = 1,
    create = 6,
};

// Keeps nothing of what the program has but the socket, as descriptor 3.
static void keep_only(int socket) {
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int standard = 0; standard < 3; standard++) {
        if (nothing >= 0) dup2(nothing, standard);
    }
    if (socket != 3) dup2(socket, 3);
    if (syscall(call_close_range, 4, ~0U, 0) == 0) return;
    for (int descriptor = 4; descriptor < 1024; descriptor++) close(descriptor);
}

int ckernel_fork_finder(const char *name, int *socket) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return -1;
    pid_t parent = getpid(), child = fork();
    if (child != 0) {
        int error = errno;
        close(pair[1]);
        if (child < 0) close(pair[0]);
        *socket = pair[0];
        errno = error;
        return child;
    }
    // A terminal's Ctrl-C and a service manager's SIGTERM go to the whole group: the parent decides.
    const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    keep_only(pair[1]);
    *socket = 3;
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    // It died before that.
    if (getppid() != parent) _exit(0);
    return 0;
}

static int configure(int context, char *hierarchy) {
    const char *prefix = "name=";
    if (strncmp(hierarchy, prefix, strlen(prefix)) == 0) {
        if (syscall(call_fsconfig, context, set_flag, "none", NULL, 0) != 0) return -1;
        return (int)syscall(call_fsconfig, context, set_string, "name", hierarchy + strlen(prefix), 0);
    }
    char *rest = NULL;
    for (char *one = strtok_r(hierarchy, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (syscall(call_fsconfig, context, set_flag, one, NULL, 0) != 0) return -1;
    }
    return 0;
}

int ckernel_open_groups(const char *hierarchy) {
    char copy[256];
    if (strlen(hierarchy) >= sizeof copy) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(copy, hierarchy);
    int context = (int)syscall(call_fsopen, *copy ? "cgroup" : "cgroup2", cloexec);
    if (context < 0) return -1;
    int folder = -1;
    if (configure(context, copy) == 0 && syscall(call_fsconfig, context, create, NULL, NULL, 0) == 0) {
        folder = (int)syscall(call_fsmount, context, cloexec, 0);
    }
    int error = errno;
    close(context);
    errno = error;
    return folder;
}

int ckernel_folder_owner(int folder, const char *path, unsigned int *owner, unsigned int *mode) {
    struct stat status;
    if (fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) != 0) return -1;
    *owner = status.st_uid;
    *mode = status.st_mode;
    return 0;
}
#endif
