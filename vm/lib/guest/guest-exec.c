/* Runs commands in the guest for vm/exec: guest-exec vsock:PORT|tcp:ADDRESS:PORT TOKEN-FILE
 *
 * One process per connection, once its client has shown the token: within five seconds, and with 128 such connections
 * at a time, of which the oldest gives way. Until then a connection costs a descriptor and 64 bytes. Integers are
 * little-endian.
 *
 *   client → here   the token (64 bytes) · u16 rows, u16 columns of its terminal, 0 without one ·
 *                   u32 length, then so many bytes: the arguments, each ended by NUL · then standard input in
 *                   frames: u32 length, bytes; a frame of none is its end. Length 2^32-1: u16 rows, u16 columns of the
 *                   terminal, whose size has changed
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
#include <time.h>
#include <unistd.h>

enum { TOKEN = 64, ARGUMENTS = 65536, PIECE = 32768, STRANGERS = 128 };
static const uint32_t resized = UINT32_MAX;
#ifndef PATIENCE_MS
#define PATIENCE_MS 5000
#endif

/* A client that has not shown the whole token. */
struct stranger {
    int fd;
    size_t count;
    int64_t until;
    char token[TOKEN];
};

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

/* Passes on a new size of the client's terminal. 0, or -1 when the client is gone. */
static int resize(int client, struct command *command) {
    struct winsize size = {0};
    if (read_all(client, &size.ws_row, 2) || read_all(client, &size.ws_col, 2)) return -1;
    if (command->has_terminal && command->output >= 0) ioctl(command->output, TIOCSWINSZ, &size);
    return 0;
}

/* Takes more of standard input from the client. 0, or -1 when the client is gone. */
static int take_input(int client, struct input *input, struct command *command) {
    if (input->left == 0) {
        if (read_all(client, &input->left, 4) != 0) return -1;
        if (input->left == resized) {
            input->left = 0;
            return resize(client, command);
        }
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

static void serve(int client) {
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

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads what there is of a stranger's token. 1: it is the token; 0: more is to come; -1: it is not, or the client left. */
static int hear(struct stranger *stranger, const char *token) {
    ssize_t n = recv(stranger->fd, stranger->token + stranger->count, TOKEN - stranger->count, MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0) return -1;
    stranger->count += (size_t)n;
    if (stranger->count < TOKEN) return 0;
    unsigned difference = 0;
    for (int i = 0; i < TOKEN; i++) difference |= (unsigned char)stranger->token[i] ^ (unsigned char)token[i];
    return difference ? -1 : 1;
}

static void meet(int listener, struct stranger *strangers, size_t *count) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) {
        /* Without descriptors the listener stays readable. */
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) usleep(100000);
        return;
    }
    if (*count == STRANGERS) {
        close(strangers[0].fd);
        memmove(strangers, strangers + 1, --*count * sizeof *strangers);
    }
    strangers[*count].fd = client;
    strangers[*count].count = 0;
    strangers[(*count)++].until = now_ms() + PATIENCE_MS;
}

static void serve_apart(int listener, const struct stranger *strangers, size_t count, size_t which) {
    if (fork() != 0) return;
    signal(SIGCHLD, SIG_DFL);
    close(listener);
    for (size_t i = 0; i < count; i++)
        if (i != which) close(strangers[i].fd);
    serve(strangers[which].fd);
}

/* Hears all strangers, and keeps those of whom more is to come. */
static void hear_all(int listener, const char *token, struct stranger *strangers, size_t *count) {
    int64_t now = now_ms();
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        int heard = hear(&strangers[i], token);
        if (heard == 0 && strangers[i].until > now) {
            struct stranger stays = strangers[i];
            strangers[i] = strangers[kept];
            strangers[kept++] = stays;
            continue;
        }
        if (heard > 0) serve_apart(listener, strangers, *count, i);
        close(strangers[i].fd);
        strangers[i].fd = -1;
    }
    *count = kept;
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
    struct stranger strangers[STRANGERS];
    size_t waiting = 0;
    for (;;) {
        struct pollfd polls[STRANGERS + 1] = {{listener, POLLIN, 0}};
        for (size_t i = 0; i < waiting; i++) polls[i + 1] = (struct pollfd){strangers[i].fd, POLLIN, 0};
        int64_t rest = waiting > 0 ? strangers[0].until - now_ms() : -1;
        if (poll(polls, waiting + 1, waiting > 0 && rest < 0 ? 0 : (int)rest) < 0) continue;
        hear_all(listener, token, strangers, &waiting);
        if (polls[0].revents & POLLIN) meet(listener, strangers, &waiting);
    }
}
