/* Runs commands in the guest for vm/exec. Listens on AF_VSOCK, one process per connection.
 *
 *   client → here   u32 length, then so many bytes: the arguments, each ended by NUL; then standard input
 *   here → client   frames: u8 kind (1 output, 2 error output, 3 end), u32 length, bytes; the end carries an u32 exit code
 *
 * Integers are little-endian. When the client goes, so does its command. guest-exec PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static int read_all(int fd, void *buffer, size_t count) {
    char *next = buffer;
    while (count > 0) {
        ssize_t n = read(fd, next, count);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        next += n;
        count -= (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const void *buffer, size_t count) {
    const char *next = buffer;
    while (count > 0) {
        ssize_t n = write(fd, next, count);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        next += n;
        count -= (size_t)n;
    }
    return 0;
}

static int send_frame(int fd, uint8_t kind, const void *bytes, uint32_t count) {
    char head[5] = {(char)kind};
    memcpy(head + 1, &count, 4);
    return write_all(fd, head, 5) == 0 ? write_all(fd, bytes, count) : -1;
}

/* The command's arguments; ends the process when they make no sense. */
static char **read_arguments(int client) {
    uint32_t length;
    if (read_all(client, &length, 4) != 0 || length == 0 || length > 65536) exit(1);
    char *text = malloc(length + 1);
    char **arguments = calloc(length + 2, sizeof(char *));
    if (!text || !arguments || read_all(client, text, length) != 0) exit(1);
    text[length] = 0;
    size_t count = 0;
    for (char *next = text; next < text + length; next += strlen(next) + 1) arguments[count++] = next;
    return arguments;
}

static void serve(int client) {
    char **arguments = read_arguments(client);
    int input[2], output[2], error[2];
    if (pipe(input) || pipe(output) || pipe(error)) exit(1);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        dup2(input[0], 0);
        dup2(output[1], 1);
        dup2(error[1], 2);
        for (int fd = 3; fd < 64; fd++) close(fd);
        signal(SIGPIPE, SIG_DFL);
        execvp(arguments[0], arguments);
        dprintf(2, "%s: %s\n", arguments[0], strerror(errno));
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    close(error[1]);
    fcntl(input[1], F_SETFL, O_NONBLOCK);
    int sources[] = {client, output[0], error[0]};
    char buffer[32768], typed[32768];
    ssize_t waiting = 0; /* bytes of standard input that the command did not take yet */
    int open_outputs = 2, client_ended = 0;
    while (open_outputs > 0) {
        struct pollfd polls[4];
        for (int i = 0; i < 3; i++) polls[i] = (struct pollfd){sources[i], POLLIN, 0};
        if (waiting > 0 || client_ended) polls[0].events = 0;
        polls[3] = (struct pollfd){waiting > 0 ? input[1] : -1, POLLOUT, 0};
        if (poll(polls, 4, -1) < 0) continue;
        if (polls[0].revents & (POLLHUP | POLLERR)) break; /* the client is gone */
        if (polls[0].revents & POLLIN) {
            waiting = read(client, typed, sizeof typed);
            if (waiting < 0) break;
            if (waiting == 0) {
                client_ended = 1;
                close(input[1]);
            }
        }
        if (polls[3].revents) {
            ssize_t n = write(input[1], typed, (size_t)waiting);
            if (n > 0) {
                waiting -= n;
                memmove(typed, typed + n, (size_t)waiting);
            } else if (errno != EAGAIN && errno != EINTR) {
                waiting = 0; /* the command closed its standard input */
            }
        }
        for (int i = 1; i < 3; i++) {
            if (!polls[i].revents) continue;
            ssize_t n = read(sources[i], buffer, sizeof buffer);
            if (n <= 0) {
                sources[i] = -1;
                open_outputs--;
            } else if (send_frame(client, (uint8_t)i, buffer, (uint32_t)n) != 0) {
                open_outputs = -1;
                break;
            }
        }
    }
    if (open_outputs != 0) kill(-child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    uint32_t code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 128u + (uint32_t)WTERMSIG(status);
    send_frame(client, 3, &code, 4);
    exit(0);
}

int main(int count, char **arguments) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
    address.svm_port = count > 1 ? (unsigned)atoi(arguments[1]) : 1026;
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) {
        perror("guest-exec");
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0) continue;
        if (fork() == 0) {
            signal(SIGCHLD, SIG_DFL);
            close(listener);
            serve(client);
        }
        close(client);
    }
}
