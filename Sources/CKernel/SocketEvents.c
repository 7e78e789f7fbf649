// Small programs for the kernel (eBPF) that tell what happens to the sockets of one network namespace: see
// docs/architecture.md, "Watching". They are written as instructions, in the same manner as Sandbox.c's filter, because a
// compiler for them would be one more thing to install.
//
//     inet_sock_set_state    a TCP socket begins to listen, or a listening one closes      EVENT_LISTEN
//     bind                   a process asks for a port                                     EVENT_WANTED
//     bind succeeded         the socket has its port                                       EVENT_BOUND
//     sendmsg (UDP)          a socket whose port the kernel chose sends for the first time EVENT_SENT
//
// All write into one ring, which a process reads from its memory. They change nothing: the programs at bind and
// sendmsg always allow the call. The kernel takes all of them away when the last descriptor is closed.
#ifdef __linux__
#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(enum bpf_cmd command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

// MARK: Instructions

#define CODE(operation, to, from, offset, value) \
    ((struct bpf_insn){.code = (operation), .dst_reg = (to), .src_reg = (from), .off = (offset), .imm = (value)})
#define MOVE(to, from) CODE(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(to, value) CODE(BPF_ALU64 | BPF_MOV | BPF_K, to, 0, 0, value)
#define ADD(to, value) CODE(BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, value)
#define IF_EQUAL_32(register, other, skip) CODE(BPF_JMP32 | BPF_JEQ | BPF_X, register, other, skip, 0)
#define SHIFT_RIGHT(to, bits) CODE(BPF_ALU64 | BPF_RSH | BPF_K, to, 0, 0, bits)
#define HOST_ORDER_16(to) CODE(BPF_ALU | BPF_END | BPF_TO_BE, to, 0, 0, 16)
#define LOAD(size, to, from, offset) CODE(BPF_LDX | BPF_MEM | (size), to, from, offset, 0)
#define STORE(size, to, offset, from) CODE(BPF_STX | BPF_MEM | (size), to, from, offset, 0)
#define STORE_VALUE(size, to, offset, value) CODE(BPF_ST | BPF_MEM | (size), to, 0, offset, value)
#define CALL(function) CODE(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define IF_EQUAL(register, value, skip) CODE(BPF_JMP | BPF_JEQ | BPF_K, register, 0, skip, value)
#define IF_NOT_EQUAL_32(register, value, skip) CODE(BPF_JMP32 | BPF_JNE | BPF_K, register, 0, skip, value)
#define OR(to, value) CODE(BPF_ALU64 | BPF_OR | BPF_K, to, 0, 0, value)
#define IF_NOT_EQUAL(register, value, skip) CODE(BPF_JMP | BPF_JNE | BPF_K, register, 0, skip, value)
#define IF_DIFFERENT(register, other, skip) CODE(BPF_JMP | BPF_JNE | BPF_X, register, other, skip, 0)
#define SKIP(count) CODE(BPF_JMP | BPF_JA, 0, 0, count, 0)
#define EXIT() CODE(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
// Two instructions each.
#define LOAD_MAP(to, fd) CODE(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_FD, 0, fd), CODE(0, 0, 0, 0, 0)
#define LOAD_MAP_VALUE(to, fd) \
    CODE(BPF_LD | BPF_DW | BPF_IMM, to, BPF_PSEUDO_MAP_VALUE, 0, fd), CODE(0, 0, 0, 0, 0)
#define LOAD_64(to, value) \
    CODE(BPF_LD | BPF_DW | BPF_IMM, to, 0, 0, (int32_t)(uint32_t)(value)), \
        CODE(0, 0, 0, 0, (int32_t)(uint32_t)((value) >> 32))

// The event under construction, at the end of the stack, and a word before it.
#define EVENT (-(int)sizeof(struct ckernel_socket_event))
#define FIELD(name) (EVENT + (int)offsetof(struct ckernel_socket_event, name))
#define WORD (EVENT - 8)

#define CLEAR_EVENT() \
    STORE_VALUE(BPF_DW, 10, EVENT, 0), STORE_VALUE(BPF_DW, 10, EVENT + 8, 0), \
        STORE_VALUE(BPF_DW, 10, EVENT + 16, 0), STORE_VALUE(BPF_DW, 10, EVENT + 24, 0)
_Static_assert(sizeof(struct ckernel_socket_event) == 32, "CLEAR_EVENT clears 32 bytes");

// The event goes into the ring. A full ring loses it; its reader can tell.
#define WRITE_EVENT(ring) \
    LOAD_MAP(1, ring), MOVE(2, 10), ADD(2, EVENT), SET(3, (int)sizeof(struct ckernel_socket_event)), SET(4, 0), \
        CALL(BPF_FUNC_ringbuf_output)

// A program while it is written.
struct program {
    struct bpf_insn instructions[96];
    size_t count;
    // Jumps to the end, which is not known yet.
    size_t leaving[8];
    size_t leaving_count;
};

static void add(struct program *program, const struct bpf_insn *instructions, size_t size) {
    memcpy(program->instructions + program->count, instructions, size);
    program->count += size / sizeof *instructions;
}
#define APPEND(program, ...) \
    add(program, (const struct bpf_insn[]){__VA_ARGS__}, sizeof((const struct bpf_insn[]){__VA_ARGS__}))

// Adds a jump to the program's end.
static void leave(struct program *program, struct bpf_insn jump) {
    program->leaving[program->leaving_count++] = program->count;
    program->instructions[program->count++] = jump;
}

// MARK: Maps

// Types for the map of sockets' marks, in BTF: the kernel wants to know that its key is an int. One type, a
// 32-bit int (Documentation/bpf/btf.rst).
struct one_int_btf {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t header_size, type_offset, type_size, string_offset, string_size;
    uint32_t name, info, size, encoding;
    char strings[8];
};

static int load_btf(void) {
    struct one_int_btf btf = {
        .magic = 0xeb9f, .version = 1, .header_size = 24, .type_offset = 0, .type_size = 16, .string_offset = 16,
        .string_size = 8, .name = 1, .info = 1u << 24 /* BTF_KIND_INT */, .size = 4, .encoding = 32,
        .strings = "\0int",
    };
    union bpf_attr attributes = {.btf = (uintptr_t)&btf, .btf_size = sizeof btf};
    return bpf(BPF_BTF_LOAD, &attributes);
}

// A word for each socket whose port the kernel chose: 1, and 2 once it has sent.
static int make_marks(void) {
    int types = load_btf();
    if (types < 0) return -1;
    union bpf_attr attributes = {
        .map_type = BPF_MAP_TYPE_SK_STORAGE, .key_size = 4, .value_size = 4, .map_flags = BPF_F_NO_PREALLOC,
        .btf_fd = (uint32_t)types, .btf_key_type_id = 1, .btf_value_type_id = 1,
    };
    int map = bpf(BPF_MAP_CREATE, &attributes);
    int error = errno;
    close(types);
    errno = error;
    return map;
}

static int make_ring(void) {
    union bpf_attr attributes = {.map_type = BPF_MAP_TYPE_RINGBUF, .max_entries = CKERNEL_EVENT_RING};
    return bpf(BPF_MAP_CREATE, &attributes);
}

static int make_thread_words(void) {
    union bpf_attr attributes = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 16, .max_entries = 1,
        .map_flags = BPF_F_MMAPABLE,
    };
    return bpf(BPF_MAP_CREATE, &attributes);
}

// MARK: Programs

// What the programs work for.
struct target {
    int ring, marks;
    // The cookie of the network namespace.
    uint64_t network;
    // A map with three words, two threads and a process whose own sockets are of no interest: their numbers in the
    // first process namespace.
    int threads;
};

// Ends a program with its result and gives it to the kernel. Returns its descriptor, or -1 and errno.
static int load(struct program *program, int result, enum bpf_prog_type type, enum bpf_attach_type at) {
    for (size_t i = 0; i < program->leaving_count; i++) {
        size_t from = program->leaving[i];
        program->instructions[from].off = (int16_t)(program->count - from - 1);
    }
    APPEND(program, SET(0, result), EXIT());
    union bpf_attr attributes = {
        .prog_type = type, .expected_attach_type = at, .insns = (uintptr_t)program->instructions,
        .insn_cnt = (uint32_t)program->count, .license = (uintptr_t)"Apache-2.0", .prog_name = "twinport",
    };
    return bpf(BPF_PROG_LOAD, &attributes);
}

// Leaves if one of our own threads, or of our own process if all of it is left out, is the one that runs. The result of the call stays in register 8.
static void leave_own_threads(struct program *program, int threads) {
    APPEND(program,
        CALL(BPF_FUNC_get_current_pid_tgid),
        MOVE(8, 0),
        LOAD_MAP_VALUE(1, threads),
        LOAD(BPF_W, 2, 1, 0));
    leave(program, IF_EQUAL_32(8, 2, 0));
    APPEND(program, LOAD(BPF_W, 2, 1, 4));
    leave(program, IF_EQUAL_32(8, 2, 0));
    APPEND(program, LOAD(BPF_W, 2, 1, 8), MOVE(3, 8), SHIFT_RIGHT(3, 32));
    leave(program, IF_EQUAL_32(3, 2, 0));
}

// TCP sockets that begin to listen, and listening ones that close, of every namespace. Not all that leave the
// state: the socket of an accepted connection begins as a copy of its listener.
static int load_listen(const struct target *target) {
    enum { old_state = 8, new_state = 16, listening = 10, closed = 7 };
    struct program program = {0};
    APPEND(&program,
        LOAD(BPF_DW, 6, 1, old_state),
        LOAD(BPF_DW, 7, 1, new_state),
        IF_EQUAL(7, listening, 2));
    leave(&program, IF_NOT_EQUAL(6, listening, 0));
    leave(&program, IF_NOT_EQUAL(7, closed, 0));
    leave_own_threads(&program, target->threads);
    APPEND(&program,
        CLEAR_EVENT(),
        STORE_VALUE(BPF_W, 10, FIELD(kind), CKERNEL_EVENT_LISTEN),
        WRITE_EVENT(target->ring));
    return load(&program, 0, BPF_PROG_TYPE_RAW_TRACEPOINT, 0);
}

// Leaves if the socket is of another network namespace. The context stays in register 6.
static void leave_other_networks(struct program *program, uint64_t network) {
    APPEND(program, MOVE(6, 1), CALL(BPF_FUNC_get_netns_cookie), LOAD_64(1, network));
    leave(program, IF_DIFFERENT(0, 1, 0));
}

// Notes in the event whether it is root who calls: other users may ask for ports that they cannot get.
static void note_root(struct program *program) {
    APPEND(program,
        CALL(BPF_FUNC_get_current_uid_gid),
        IF_NOT_EQUAL_32(0, 0, 3),
        LOAD(BPF_W, 2, 10, FIELD(flags)),
        OR(2, CKERNEL_EVENT_BY_ROOT),
        STORE(BPF_W, 10, FIELD(flags), 2));
}

// Before a bind. A UDP socket that leaves the choice to the kernel gets its mark; any other port is wanted.
static int load_wanted(const struct target *target, int is_v6, int knows_threads) {
    enum {
        ip4 = offsetof(struct bpf_sock_addr, user_ip4), ip6 = offsetof(struct bpf_sock_addr, user_ip6),
        port = offsetof(struct bpf_sock_addr, user_port), type = offsetof(struct bpf_sock_addr, type),
        protocol = offsetof(struct bpf_sock_addr, protocol), socket = offsetof(struct bpf_sock_addr, sk),
    };
    struct program program = {0};
    leave_other_networks(&program, target->network);
    if (knows_threads) leave_own_threads(&program, target->threads);
    APPEND(&program, LOAD(BPF_W, 7, 6, port));
    size_t asks_for_port = program.count;
    APPEND(&program, IF_NOT_EQUAL(7, 0, 0), LOAD(BPF_W, 2, 6, type));
    leave(&program, IF_NOT_EQUAL(2, SOCK_DGRAM, 0));
    APPEND(&program,
        STORE_VALUE(BPF_DW, 10, WORD, 1),
        LOAD_MAP(1, target->marks),
        LOAD(BPF_DW, 2, 6, socket),
        MOVE(3, 10),
        ADD(3, WORD),
        SET(4, BPF_SK_STORAGE_GET_F_CREATE),
        CALL(BPF_FUNC_sk_storage_get));
    leave(&program, SKIP(0));
    program.instructions[asks_for_port].off = (int16_t)(program.count - asks_for_port - 1);
    APPEND(&program,
        CLEAR_EVENT(),
        STORE_VALUE(BPF_W, 10, FIELD(kind), CKERNEL_EVENT_WANTED),
        HOST_ORDER_16(7),
        STORE(BPF_H, 10, FIELD(port), 7),
        STORE_VALUE(BPF_B, 10, FIELD(family), (is_v6 ? 6 : 4)),
        LOAD(BPF_W, 2, 6, protocol),
        STORE(BPF_B, 10, FIELD(protocol), 2));
    for (int word = 0; word < (is_v6 ? 4 : 1); word++) {
        APPEND(&program,
            LOAD(BPF_W, 2, 6, (int16_t)((is_v6 ? ip6 : ip4) + 4 * word)),
            STORE(BPF_W, 10, (int16_t)(FIELD(address) + 4 * word), 2));
    }
    note_root(&program);
    if (knows_threads) APPEND(&program, SHIFT_RIGHT(8, 32), STORE(BPF_W, 10, FIELD(process), 8));
    APPEND(&program, WRITE_EVENT(target->ring));
    return load(
        &program, 1, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, is_v6 ? BPF_CGROUP_INET6_BIND : BPF_CGROUP_INET4_BIND);
}

// After a bind that succeeded.
static int load_bound(const struct target *target, int is_v6, int knows_threads) {
    enum { protocol = offsetof(struct bpf_sock, protocol), port = offsetof(struct bpf_sock, src_port) };
    struct program program = {0};
    leave_other_networks(&program, target->network);
    if (knows_threads) leave_own_threads(&program, target->threads);
    APPEND(&program,
        CLEAR_EVENT(),
        STORE_VALUE(BPF_W, 10, FIELD(kind), CKERNEL_EVENT_BOUND),
        STORE_VALUE(BPF_B, 10, FIELD(family), (is_v6 ? 6 : 4)),
        LOAD(BPF_W, 2, 6, protocol),
        STORE(BPF_B, 10, FIELD(protocol), 2),
        LOAD(BPF_W, 2, 6, port),
        STORE(BPF_H, 10, FIELD(port), 2),
        LOAD_MAP(1, target->marks),
        MOVE(2, 6),
        SET(3, 0),
        SET(4, 0),
        CALL(BPF_FUNC_sk_storage_get),
        IF_EQUAL(0, 0, 1),
        STORE_VALUE(BPF_W, 10, FIELD(flags), CKERNEL_EVENT_KERNEL_CHOSE));
    note_root(&program);
    if (knows_threads) APPEND(&program, SHIFT_RIGHT(8, 32), STORE(BPF_W, 10, FIELD(process), 8));
    APPEND(&program, WRITE_EVENT(target->ring));
    return load(
        &program, 1, BPF_PROG_TYPE_CGROUP_SOCK, is_v6 ? BPF_CGROUP_INET6_POST_BIND : BPF_CGROUP_INET4_POST_BIND);
}

// Before an unconnected UDP socket sends. Nearly all have no mark, and that is one comparison in the kernel.
static int load_sent(const struct target *target, int is_v6) {
    enum { socket = offsetof(struct bpf_sock_addr, sk), port = offsetof(struct bpf_sock, src_port) };
    struct program program = {0};
    APPEND(&program,
        LOAD(BPF_DW, 7, 1, socket),
        LOAD_MAP(1, target->marks),
        MOVE(2, 7),
        SET(3, 0),
        SET(4, 0),
        CALL(BPF_FUNC_sk_storage_get));
    leave(&program, IF_EQUAL(0, 0, 0));
    APPEND(&program, LOAD(BPF_W, 2, 0, 0));
    leave(&program, IF_NOT_EQUAL(2, 1, 0));
    APPEND(&program,
        STORE_VALUE(BPF_W, 0, 0, 2),
        CLEAR_EVENT(),
        STORE_VALUE(BPF_W, 10, FIELD(kind), CKERNEL_EVENT_SENT),
        STORE_VALUE(BPF_B, 10, FIELD(family), (is_v6 ? 6 : 4)),
        STORE_VALUE(BPF_B, 10, FIELD(protocol), IPPROTO_UDP),
        LOAD(BPF_W, 2, 7, port),
        STORE(BPF_H, 10, FIELD(port), 2),
        WRITE_EVENT(target->ring));
    return load(
        &program, 1, BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        is_v6 ? BPF_CGROUP_UDP6_SENDMSG : BPF_CGROUP_UDP4_SENDMSG);
}

// MARK: Attaching

// Where a service manager takes the rights for the other way from its services, it has left the mounted folder.
static int open_mounted_groups(void) {
    static const char *const places[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
    int error = errno;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int folder = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0) continue;
        if (faccessat(folder, "cgroup.procs", F_OK, 0) == 0) return folder;
        close(folder);
    }
    errno = error;
    return -1;
}

// The folder of all control groups that this process may see. Nothing is mounted anywhere: `ip netns exec` hides
// /sys/fs/cgroup, and a machine may not have it there.
static int open_groups(void) {
    int folder = ckernel_open_groups("");
    if (folder < 0) folder = open_mounted_groups();
    if (folder < 0) return -1;
    // Every group but the first has this file. From within a group, other groups' sockets cannot be seen.
    if (faccessat(folder, "cgroup.events", F_OK, 0) == 0) {
        close(folder);
        errno = EXDEV;
        return -1;
    }
    return folder;
}

// Attaches a program and closes it: from then on the link alone keeps it.
static int attach(int program, int groups, enum bpf_attach_type at) {
    if (program < 0) return -1;
    union bpf_attr attributes = {
        .link_create = {.prog_fd = (uint32_t)program, .target_fd = (uint32_t)groups, .attach_type = at}};
    int link = bpf(BPF_LINK_CREATE, &attributes);
    int error = errno;
    close(program);
    errno = error;
    return link;
}

static int attach_listen(int program) {
    if (program < 0) return -1;
    union bpf_attr attributes = {
        .raw_tracepoint = {.name = (uintptr_t)"inet_sock_set_state", .prog_fd = (uint32_t)program}};
    int link = bpf(BPF_RAW_TRACEPOINT_OPEN, &attributes);
    int error = errno;
    close(program);
    errno = error;
    return link;
}

// Programs at bind that know which thread calls need a kernel of 2022 or later; without that they are of use, too.
static int wanted(const struct target *target, int is_v6) {
    int program = load_wanted(target, is_v6, 1);
    return program >= 0 ? program : load_wanted(target, is_v6, 0);
}

static int bound(const struct target *target, int is_v6) {
    int program = load_bound(target, is_v6, 1);
    return program >= 0 ? program : load_bound(target, is_v6, 0);
}

static int attach_all(const struct target *target, int groups, int *links) {
    size_t n = 0;
    for (int is_v6 = 0; is_v6 < 2; is_v6++) {
        links[n] = attach(wanted(target, is_v6), groups, is_v6 ? BPF_CGROUP_INET6_BIND : BPF_CGROUP_INET4_BIND);
        if (links[n++] < 0) return -1;
        links[n] = attach(
            bound(target, is_v6), groups, is_v6 ? BPF_CGROUP_INET6_POST_BIND : BPF_CGROUP_INET4_POST_BIND);
        if (links[n++] < 0) return -1;
        links[n] = attach(
            load_sent(target, is_v6), groups, is_v6 ? BPF_CGROUP_UDP6_SENDMSG : BPF_CGROUP_UDP4_SENDMSG);
        if (links[n++] < 0) return -1;
    }
    links[n] = attach_listen(load_listen(target));
    return links[n] < 0 ? -1 : 0;
}

uint32_t ckernel_thread_number(void) {
    return (uint32_t)syscall(SYS_gettid);
}

int ckernel_watch_sockets(uint64_t network, int *threads, int links[CKERNEL_EVENT_LINKS]) {
    for (int i = 0; i < CKERNEL_EVENT_LINKS; i++) links[i] = -1;
    struct target target = {.ring = make_ring(), .marks = -1, .threads = -1, .network = network};
    int groups = -1, result = -1;
    if (target.ring >= 0) target.marks = make_marks();
    if (target.marks >= 0) target.threads = make_thread_words();
    if (target.threads >= 0) groups = open_groups();
    if (groups >= 0) result = attach_all(&target, groups, links);
    int error = errno;
    if (groups >= 0) close(groups);
    // The programs keep it.
    if (target.marks >= 0) close(target.marks);
    *threads = target.threads;
    if (result == 0) return target.ring;
    if (target.ring >= 0) close(target.ring);
    if (target.threads >= 0) close(target.threads);
    for (int i = 0; i < CKERNEL_EVENT_LINKS; i++) {
        if (links[i] >= 0) close(links[i]);
    }
    errno = error;
    return -1;
}
#endif
