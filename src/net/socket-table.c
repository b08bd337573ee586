#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "net/socket-table.h"
#include "util/fd.h"

/* Socket table: a line of /proc/PID/net/tcp is
 *
 *   sl: LOCAL:PORT REMOTE:PORT ST TXQUEUE:RXQUEUE TR:WHEN RETRANSMITS UID TIMEOUT INODE …
 *
 * all of it hexadecimal but sl, UID, TIMEOUT and INODE, the addresses as 32-bit words in the byte order of the
 * host. The file is read in pieces and forgotten line by line, because it is read every few milliseconds while
 * a stack wakes and may hold thousands of sockets. Nothing can be asked for less: the kernel has no file of
 * listening sockets alone, and netlink needs a socket inside the namespace. A line that cannot be understood is
 * skipped.
 *
 * Reading is not cheap even for an empty table: the kernel walks its hash of all connections of all namespaces
 * (262144 buckets on a machine of 24 GB: 2 ms a file), and once more to say that the file has ended.
 * /proc/PID/net/sockstat counts the sockets of the namespace for 12 µs, which is what socket_table_pulse() is
 * made of. */

#define CHUNK_SIZE 16384
#define LINE_SIZE_MAX 512 /* 150 for IPv4, less than 200 for IPv6 */
#define KERNEL_CHUNK_SIZE 4096 /* what seq_file gives at once, at least */

/* From include/net/tcp_states.h, as printed. */
typedef enum SocketState {
        SOCKET_ESTABLISHED = 1,
        SOCKET_FIN_WAIT1 = 4,
        SOCKET_FIN_WAIT2 = 5,
        SOCKET_CLOSE_WAIT = 8,
        SOCKET_LISTEN = 10,
} SocketState;

typedef struct SocketLine {
        uint32_t local[4], remote[4]; /* network byte order; IPv4 uses the first word */
        uint32_t local_port, remote_port;
        uint32_t state;
        uint32_t sending, receiving; /* bytes not yet sent, or not yet read */
        uint32_t retransmits;
        uint32_t probes; /* keepalives, or asking for room, that were not answered: what is called "timeout" */
        uint64_t inode;
} SocketLine;

static bool address_is_loopback(int family, const uint32_t address[static 4]) {
        const struct in6_addr *ipv6 = (const struct in6_addr *) address;

        if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(ipv6))
                return IN6_IS_ADDR_LOOPBACK(ipv6);
        return ntohl(address[family == AF_INET ? 0 : 3]) >> 24 == 127;
}

/* Docker's resolver, which listens in every container on a network of its own long before the application does. */
static bool address_is_engine_resolver(int family, const uint32_t address[static 4]) {
        return family == AF_INET && ntohl(address[0]) == UINT32_C(0x7f00000b); /* 127.0.0.11 */
}

/* The words are those of the address in memory: what %08X makes of them differs by byte order, the bytes do
 * not. What is behind the queues may be missing. */
static bool socket_line_parse(SocketLine *ret, int family, const char *line) {
#define REST ":%x %x %x:%x %*x:%*x %x %*u %u %" SCNu64
        uint32_t *l = ret->local, *r = ret->remote;

        *ret = (SocketLine){};
        if (family == AF_INET)
                return sscanf(line, " %*[0-9]: %8x:%x %8x" REST, l, &ret->local_port, r, &ret->remote_port,
                              &ret->state, &ret->sending, &ret->receiving, &ret->retransmits, &ret->probes,
                              &ret->inode) >= 7;
        return sscanf(line, " %*[0-9]: %8x%8x%8x%8x:%x %8x%8x%8x%8x" REST, l, l + 1, l + 2, l + 3,
                      &ret->local_port, r, r + 1, r + 2, r + 3, &ret->remote_port, &ret->state, &ret->sending,
                      &ret->receiving, &ret->retransmits, &ret->probes, &ret->inode) >= 13;
}

static uint64_t hash_mix(uint64_t hash, uint64_t value) {
        hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
        return hash ^ hash >> 32;
}

/* Summed up, because the kernel's order is not ours to rely on. The inode tells a socket from its successor. */
static uint64_t socket_line_hash(const SocketLine *line, int family) {
        uint64_t hash = hash_mix((uint64_t) family, line->local_port);

        for (int i = 0; i < (family == AF_INET ? 1 : 4); i++)
                hash = hash_mix(hash, line->local[i]);
        return hash_mix(hash, line->inode);
}

/* A connection that one side has closed counts as long as data is still on the way; after that it may linger
 * for as long as an application forgets to close it. */
static bool socket_line_is_in_use(const SocketLine *line) {
        switch (line->state) {
        case SOCKET_ESTABLISHED:
                return true;
        case SOCKET_FIN_WAIT1:
        case SOCKET_FIN_WAIT2:
        case SOCKET_CLOSE_WAIT:
                return line->sending > 0 || line->receiving > 0;
        default:
                return false;
        }
}

static bool filter_asks_for(const SocketFilter *filter, const SocketLine *line, int family) {
        bool mapped = family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) line->remote);
        Connection connection = {
                .family = mapped ? AF_INET : family,
                .local_port = (uint16_t) line->local_port,
                .remote_port = (uint16_t) line->remote_port,
                .unanswered = MAX(line->retransmits, line->probes),
        };
        size_t word = mapped ? 3 : 0, size = connection.family == AF_INET ? 4 : 16;

        memcpy(connection.local, &line->local[word], size);
        memcpy(connection.remote, &line->remote[word], size);
        return filter->counts(&connection, filter->userdata);
}

static void socket_table_add(SocketTable *table, int family, const char *text, const SocketFilter *filter) {
        SocketLine line;

        if (!socket_line_parse(&line, family, text))
                return;

        if (line.state == SOCKET_LISTEN && address_is_engine_resolver(family, line.local))
                return;
        if (line.state == SOCKET_LISTEN) {
                table->listening_hash += socket_line_hash(&line, family);
                /* 0 is kept for an empty table. */
                if (table->listening_hash == 0)
                        table->listening_hash = 1;
                table->n_listening++;
        } else if (filter->port > 0 && line.local_port == filter->port && socket_line_is_in_use(&line) &&
                   (filter->loopback || !address_is_loopback(family, line.remote))) {
                for (size_t i = 0; i < filter->n_ignored; i++)
                        if (address_prefix_matches(&filter->ignored[i], family, line.remote)) {
                                table->n_ignored++;
                                return;
                        }
                if (!filter->counts || filter_asks_for(filter, &line, family))
                        table->n_established++;
        }
}

/* Takes whole lines apart, and returns how much is left behind them. */
static size_t socket_table_add_lines(SocketTable *table, int family, char *text, size_t size,
                                     const SocketFilter *filter) {
        for (char *end; (end = memchr(text, '\n', size)); text = end + 1) {
                *end = '\0';
                socket_table_add(table, family, text, filter);
                size -= (size_t) (end + 1 - text);
        }
        return size;
}

int socket_table_parse(SocketTable *table, int family, const char *text, const SocketFilter *filter) {
        _cleanup_free_ char *copy = strdup(text);
        size_t size = strlen(text);

        assert(family == AF_INET || family == AF_INET6);

        if (!copy)
                return -ENOMEM;
        socket_table_add(table, family, copy + size - socket_table_add_lines(table, family, copy, size, filter),
                         filter);
        return 0;
}

static int read_file(SocketTable *table, int fd, int family, const SocketFilter *filter) {
        char buffer[CHUNK_SIZE];
        size_t size = 0, left;
        ssize_t n;

        for (;;) {
                size_t room = sizeof(buffer) - size;

                n = read(fd, buffer + size, room);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                size += (size_t) n;
                left = socket_table_add_lines(table, family, buffer, size, filter);
                /* A line that fills the buffer is none of the kernel's. */
                if (left == sizeof(buffer))
                        left = 0;
                memmove(buffer, buffer + size - left, left);
                size = left;

                /* There was room for another line and none came: that was the end, and asking would cost
                 * another walk. */
                if ((size_t) n + LINE_SIZE_MAX < MIN(room, (size_t) KERNEL_CHUNK_SIZE))
                        return 0;
        }
}

#define PROC_PATH_MAX 48

static void proc_path(char ret[static PROC_PATH_MAX], pid_t pid, const char *name) {
        if (pid == 0)
                (void) snprintf(ret, PROC_PATH_MAX, "/proc/self/net/%s", name);
        else
                (void) snprintf(ret, PROC_PATH_MAX, "/proc/%d/net/%s", pid, name);
}

int socket_table_read(SocketTable *ret, pid_t pid, const SocketFilter *filter) {
        static const struct {
                const char *name;
                int family;
        } files[] = { { "tcp", AF_INET }, { "tcp6", AF_INET6 } };
        SocketTable table = {};

        assert(pid >= 0);

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_close_ int fd = -EBADF;
                char path[PROC_PATH_MAX];
                int r;

                proc_path(path, pid, files[i].name);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                /* A kernel without IPv6 has the first only. */
                if (fd < 0 && errno == ENOENT && i > 0)
                        break;
                if (fd < 0)
                        return -errno;
                r = read_file(&table, fd, files[i].family, filter);
                if (r < 0)
                        return r;
        }
        *ret = table;
        return 0;
}

/* "TCP: inuse 3 orphan 0 …", "TCP6: inuse 1". */
static int read_in_use(pid_t pid, const char *name, const char *label, uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        char path[PROC_PATH_MAX];
        const char *found;
        int r;

        proc_path(path, pid, name);
        r = file_read(path, CHUNK_SIZE, &text, NULL);
        if (r < 0)
                return r;

        found = strstr(text, label);
        if (!found)
                return -EBADMSG;
        *ret = strtoull(found + strlen(label), NULL, 10);
        return 0;
}

int socket_table_pulse(pid_t pid, uint64_t *ret) {
        uint64_t ipv4, ipv6 = 0;
        int r;

        assert(pid >= 0);

        r = read_in_use(pid, "sockstat", "\nTCP: inuse ", &ipv4);
        if (r < 0)
                return r;
        r = read_in_use(pid, "sockstat6", "TCP6: inuse ", &ipv6);
        if (r < 0 && r != -ENOENT)
                return r;

        *ret = ipv4 << 32 | (ipv6 & UINT32_MAX);
        return 0;
}
