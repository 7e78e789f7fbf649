/* Runs commands in the guest for vm/exec: guest-exec vsock:PORT|tcp:ADDRESS:PORT TOKEN-FILE
 *
 * One process per connection. Integers are little-endian.
 *
 *   client → here   the token (64 bytes) · u16 rows, u16 columns of its terminal, 0 without one ·
 *                   u32 length, then so many bytes: the arguments, each ended by NUL · then standard input in
 *                   frames: u32 length, bytes; a frame of none is its end
 *   here → client   frames: u8 kind (1 output, 2 error output, 3 end), u32 length, bytes;
 *                   the end carries an u32 exit code
 *
 * With a terminal the command gets one of its own, and all output is of kind 1. The client never half-closes: the
 * end of the connection means that it is gone, and then its command goes as well.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOKEN = 64, ARGUMENTS = 65536, PIECE = 32768 };

/* A command that runs: where its input goes, and where its output comes from (-1: ended or not there). */
struct command {
    pid_t pid;
    int input, output, error;
    int has_terminal;
};

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

/* Ends the process unless the client knows the token. */
static void check_token(int client, const char *token) {
    char given[TOKEN];
    if (read_all(client, given, TOKEN) != 0) exit(1);
    unsigned difference = 0;
    for (int i = 0; i < TOKEN; i++) difference |= (unsigned char)given[i] ^ (unsigned char)token[i];
    if (difference) exit(1);
}

/* The command's arguments; ends the process when they make no sense. */
static char **read_arguments(int client) {
    uint32_t length;
    if (read_all(client, &length, 4) != 0 || length == 0 || length > ARGUMENTS) exit(1);
    char *text = malloc(length + 1);
    char **arguments = calloc(length + 2, sizeof(char *));
    if (!text || !arguments || read_all(client, text, length) != 0) exit(1);
    text[length] = 0;
    size_t count = 0;
    for (char *next = text; next < text + length; next += strlen(next) + 1) arguments[count++] = next;
    return arguments;
}

static void become(char **arguments) {
    for (int fd = 3; fd < 64; fd++) close(fd);
    signal(SIGPIPE, SIG_DFL);
    execvp(arguments[0], arguments);
    dprintf(2, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

static struct command start_on_terminal(char **arguments, struct winsize *size) {
    struct command command = {.error = -1, .has_terminal = 1};
    command.pid = forkpty(&command.output, NULL, NULL, size);
    if (command.pid == 0) {
        setenv("TERM", "xterm", 0);
        become(arguments);
    }
    if (command.pid < 0) exit(1);
    command.input = command.output;
    return command;
}

static struct command start_on_pipes(char **arguments) {
    int input[2], output[2], error[2];
    if (pipe(input) || pipe(output) || pipe(error)) exit(1);
    struct command command = {.pid = fork(), .input = input[1], .output = output[0], .error = error[0]};
    if (command.pid < 0) exit(1);
    if (command.pid == 0) {
        setsid();
        dup2(input[0], 0);
        dup2(output[1], 1);
        dup2(error[1], 2);
        become(arguments);
    }
    close(input[0]);
    close(output[1]);
    close(error[1]);
    fcntl(input[1], F_SETFL, O_NONBLOCK);
    return command;
}

/* Passes on what one of the outputs has. 0: it goes on; 1: it ended; -1: the client is gone. */
static int pass_output(int client, uint8_t kind, int *source) {
    static char buffer[PIECE];
    ssize_t n = read(*source, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) return 0;
    if (n > 0) return send_frame(client, kind, buffer, (uint32_t)n);
    *source = -1;
    return 1;
}

/* Standard input on its way: what is left of a frame, and what the command did not take yet. */
struct input {
    uint32_t left;
    ssize_t waiting;
    char bytes[PIECE];
};

/* Takes more of standard input from the client. 0, or -1 when the client is gone. */
static int take_input(int client, struct input *input, struct command *command) {
    if (input->left == 0) {
        if (read_all(client, &input->left, 4) != 0) return -1;
        if (input->left == 0 && !command->has_terminal) {
            close(command->input);
            command->input = -1;
        }
        return 0;
    }
    input->waiting = read(client, input->bytes, input->left < PIECE ? input->left : PIECE);
    if (input->waiting <= 0) return -1;
    input->left -= (uint32_t)input->waiting;
    return 0;
}

/* Joins the client and the command until the command's outputs end (0) or the client goes (-1). */
static int join(int client, struct command *command) {
    static struct input input;
    int open_outputs = command->error < 0 ? 1 : 2;
    while (open_outputs > 0) {
        struct pollfd polls[] = {
            {client, (short)(POLLRDHUP | (input.waiting > 0 ? 0 : POLLIN)), 0},
            {command->output, POLLIN, 0},
            {command->error, POLLIN, 0},
            {input.waiting > 0 ? command->input : -1, POLLOUT, 0},
        };
        if (poll(polls, 4, -1) < 0) continue;
        if (polls[0].revents & (POLLHUP | POLLERR | POLLRDHUP)) return -1;
        if (polls[0].revents & POLLIN && take_input(client, &input, command) != 0) return -1;
        if (polls[3].revents) {
            ssize_t n = write(command->input, input.bytes, (size_t)input.waiting);
            if (n > 0) {
                input.waiting -= n;
                memmove(input.bytes, input.bytes + n, (size_t)input.waiting);
            } else if (errno != EAGAIN && errno != EINTR) {
                input.waiting = 0; /* the command closed its standard input */
            }
        }
        int *sources[] = {&command->output, &command->error};
        for (int i = 0; i < 2; i++) {
            if (!polls[i + 1].revents) continue;
            int ended = pass_output(client, (uint8_t)(i + 1), sources[i]);
            if (ended < 0) return -1;
            open_outputs -= ended;
        }
    }
    return 0;
}

/* Ends a command as a terminal that closes would, and for certain a second later. */
static void hang_up(pid_t pid) {
    kill(-pid, SIGHUP);
    for (int i = 0; i < 20; i++) {
        if (waitpid(pid, NULL, WNOHANG) == pid) exit(0);
        usleep(50000);
    }
    kill(-pid, SIGKILL);
}

static void serve(int client, const char *token) {
    check_token(client, token);
    struct winsize size = {0};
    if (read_all(client, &size.ws_row, 2) || read_all(client, &size.ws_col, 2)) exit(1);
    char **arguments = read_arguments(client);
    struct command command = size.ws_row ? start_on_terminal(arguments, &size) : start_on_pipes(arguments);
    if (join(client, &command) < 0) hang_up(command.pid);
    int status = 0;
    while (waitpid(command.pid, &status, 0) < 0 && errno == EINTR) {}
    uint32_t code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 128u + (uint32_t)WTERMSIG(status);
    send_frame(client, 3, &code, 4);
    exit(0);
}

static int listen_at(char *address) {
    struct sockaddr_vm machine = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
    struct sockaddr_in place = {.sin_family = AF_INET};
    struct sockaddr *where;
    socklen_t length;
    char *port = strrchr(address, ':');
    if (!port) return -1;
    *port++ = 0;
    if (strcmp(address, "vsock") == 0) {
        machine.svm_port = (unsigned)atoi(port);
        where = (struct sockaddr *)&machine, length = sizeof machine;
    } else {
        place.sin_port = htons((uint16_t)atoi(port));
        if (strncmp(address, "tcp:", 4) != 0 || inet_pton(AF_INET, address + 4, &place.sin_addr) != 1) return -1;
        where = (struct sockaddr *)&place, length = sizeof place;
    }
    int listener = socket(where->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, where, length) || listen(listener, 64)) return -1;
    return listener;
}

int main(int count, char **arguments) {
    char token[TOKEN];
    int file = count == 3 ? open(arguments[2], O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0 || read_all(file, token, TOKEN) != 0) {
        fprintf(stderr, "usage: guest-exec vsock:PORT|tcp:ADDRESS:PORT TOKEN-FILE\n");
        return 2;
    }
    close(file);
    int listener = listen_at(arguments[1]);
    if (listener < 0) {
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
            serve(client, token);
        }
        close(client);
    }
}
