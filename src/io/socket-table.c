#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "io/socket-table.h"
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
        bool queued; /* bytes not yet sent or not yet read */
        const char *rest; /* behind the queues */
} SocketLine;

typedef struct SocketFilter {
        uint16_t port;
        const AddressPrefix *ignored;
        size_t n_ignored;
        ListeningPorts *listening; /* NULL: not asked for */
} SocketFilter;

int address_prefix_parse(AddressPrefix *ret, const char *text) {
        _cleanup_free_ char *address = NULL;
        AddressPrefix prefix = {};
        const char *slash;

        assert(ret);
        assert(text);

        slash = strchrnul(text, '/');
        address = strndup(text, (size_t) (slash - text));
        if (!address)
                return -ENOMEM;

        prefix.family = strchr(address, ':') ? AF_INET6 : AF_INET;
        if (inet_pton(prefix.family, address, &prefix.ipv6) <= 0)
                return -EINVAL;

        prefix.length = prefix.family == AF_INET ? 32 : 128;
        if (*slash == '/') {
                size_t digits = strspn(slash + 1, "0123456789");
                unsigned long length;

                if (digits == 0 || digits > 3 || slash[1 + digits] != '\0')
                        return -EINVAL;
                length = strtoul(slash + 1, NULL, 10);
                if (length > prefix.length)
                        return -EINVAL;
                prefix.length = (unsigned) length;
        }

        *ret = prefix;
        return 0;
}

const char *address_prefix_to_string(const AddressPrefix *prefix, char buffer[static ADDRESS_PREFIX_TEXT_MAX]) {
        char address[INET6_ADDRSTRLEN];

        assert(prefix);

        (void) inet_ntop(prefix->family, &prefix->ipv6, address, sizeof(address));
        (void) snprintf(buffer, ADDRESS_PREFIX_TEXT_MAX, "%s/%u", address, prefix->length);
        return buffer;
}

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned length) {
        unsigned whole = length / 8, rest = length % 8;

        if (memcmp(a, b, whole) != 0)
                return false;
        return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool address_prefix_matches(const AddressPrefix *prefix, int family, const void *address) {
        const uint8_t *bytes = address;

        assert(prefix);
        assert(address);

        if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *) address)) {
                family = AF_INET;
                bytes += 12;
        }
        if (family != prefix->family)
                return false;
        return bits_equal((const uint8_t *) &prefix->ipv6, bytes, prefix->length);
}

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

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return -1;
}

/* Reads up to eight hexadecimal digits, at least one. */
static bool read_hex(const char **text, uint32_t *ret) {
        const char *p = *text;
        uint32_t value = 0;

        for (int digit; p < *text + 8 && (digit = hex_digit(*p)) >= 0; p++)
                value = value << 4 | (uint32_t) digit;
        if (p == *text)
                return false;

        *text = p;
        *ret = value;
        return true;
}

static bool read_char(const char **text, char c) {
        if (**text != c)
                return false;
        (*text)++;
        return true;
}

/* The words are those of the address in memory: what %08X makes of them differs by byte order, the bytes do
 * not. */
static bool read_endpoint(const char **text, int family, uint32_t ret_address[static 4], uint32_t *ret_port) {
        for (int i = 0; i < (family == AF_INET ? 1 : 4); i++)
                if (!read_hex(text, &ret_address[i]))
                        return false;
        return read_char(text, ':') && read_hex(text, ret_port) && read_char(text, ' ');
}

static bool socket_line_parse(SocketLine *ret, int family, const char *line) {
        uint32_t sending, receiving;

        line += strspn(line, " ");
        line += strspn(line, "0123456789");
        if (!read_char(&line, ':') || !read_char(&line, ' '))
                return false;
        if (!read_endpoint(&line, family, ret->local, &ret->local_port) ||
            !read_endpoint(&line, family, ret->remote, &ret->remote_port))
                return false;
        if (!read_hex(&line, &ret->state) || !read_char(&line, ' '))
                return false;
        if (!read_hex(&line, &sending) || !read_char(&line, ':') || !read_hex(&line, &receiving))
                return false;

        ret->queued = sending > 0 || receiving > 0;
        ret->rest = line;
        return true;
}

/* Behind the queues: TR:WHEN RETRANSMITS UID TIMEOUT INODE. */
static uint64_t socket_line_inode(const SocketLine *line) {
        const char *p = line->rest;

        for (int field = 0; field < 4; field++) {
                p += strspn(p, " ");
                p += strcspn(p, " ");
        }
        return strtoull(p, NULL, 10);
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
        return hash_mix(hash, socket_line_inode(line));
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
                return line->queued;
        default:
                return false;
        }
}

static bool peer_is_ignored(const SocketLine *line, int family, const SocketFilter *filter) {
        for (size_t i = 0; i < filter->n_ignored; i++)
                if (address_prefix_matches(&filter->ignored[i], family, line->remote))
                        return true;
        return false;
}

static void socket_table_add(SocketTable *table, int family, const char *text, const SocketFilter *filter) {
        SocketLine line = {};

        if (!socket_line_parse(&line, family, text))
                return;

        if (line.state == SOCKET_LISTEN && address_is_engine_resolver(family, line.local))
                return;
        if (line.state == SOCKET_LISTEN && filter->listening && line.local_port <= UINT16_MAX)
                filter->listening->ports[line.local_port / 64] |= UINT64_C(1) << line.local_port % 64;
        if (line.state == SOCKET_LISTEN) {
                table->listening_hash += socket_line_hash(&line, family);
                /* 0 is kept for an empty table. */
                if (table->listening_hash == 0)
                        table->listening_hash = 1;
                table->n_listening++;
        } else if (filter->port > 0 && line.local_port == filter->port && socket_line_is_in_use(&line) &&
                   !address_is_loopback(family, line.remote)) {
                if (peer_is_ignored(&line, family, filter))
                        table->n_ignored++;
                else
                        table->n_established++;
        }
}

int socket_table_parse(SocketTable *table, int family, const char *text, uint16_t port,
                       const AddressPrefix *ignored, size_t n_ignored) {
        SocketFilter filter = { .port = port, .ignored = ignored, .n_ignored = n_ignored };

        assert(table);
        assert(family == AF_INET || family == AF_INET6);
        assert(text);
        assert(ignored || n_ignored == 0);

        for (const char *line = text; *line != '\0';) {
                char copy[LINE_SIZE_MAX];
                size_t size = strcspn(line, "\n");

                /* No line of the kernel's is half as long. */
                if (size < sizeof(copy)) {
                        memcpy(copy, line, size);
                        copy[size] = '\0';
                        socket_table_add(table, family, copy, &filter);
                }
                line += size;
                line += *line == '\n';
        }
        return 0;
}

typedef struct TableReading {
        SocketTable table;
        SocketFilter filter;
} TableReading;

static int read_lines(TableReading *reading, int fd, int family) {
        char buffer[CHUNK_SIZE];
        size_t size = 0;

        for (;;) {
                char *line = buffer, *end;
                size_t room = sizeof(buffer) - size;
                ssize_t n;

                n = read(fd, buffer + size, room);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;
                size += (size_t) n;

                while ((end = memchr(line, '\n', size))) {
                        *end = '\0';
                        socket_table_add(&reading->table, family, line, &reading->filter);
                        size -= (size_t) (end + 1 - line);
                        line = end + 1;
                }
                /* A line that fills the buffer is none of the kernel's. */
                if (size == sizeof(buffer))
                        size = 0;
                memmove(buffer, line, size);

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

static int read_table(TableReading *reading, pid_t pid) {
        static const struct {
                const char *name;
                int family;
        } files[] = { { "tcp", AF_INET }, { "tcp6", AF_INET6 } };

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_close_ int fd = -EBADF;
                char path[PROC_PATH_MAX];
                int r;

                proc_path(path, pid, files[i].name);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                /* A kernel without IPv6 has the first only. */
                if (fd < 0 && errno == ENOENT && i > 0)
                        return 0;
                if (fd < 0)
                        return -errno;
                r = read_lines(reading, fd, files[i].family);
                if (r < 0)
                        return r;
        }
        return 0;
}

int socket_table_read(SocketTable *ret, pid_t pid, uint16_t port, const AddressPrefix *ignored, size_t n_ignored) {
        TableReading reading = {
                .filter = { .port = port, .ignored = ignored, .n_ignored = n_ignored },
        };
        int r;

        assert(ret);
        assert(pid >= 0);
        assert(ignored || n_ignored == 0);

        r = read_table(&reading, pid);
        if (r < 0)
                return r;

        *ret = reading.table;
        return 0;
}

int socket_table_read_listening(ListeningPorts *ret) {
        TableReading reading = { .filter = { .listening = ret } };

        assert(ret);

        *ret = (ListeningPorts){};
        return read_table(&reading, 0);
}

bool listening_ports_have(const ListeningPorts *listening, uint16_t port) {
        return listening->ports[port / 64] >> port % 64 & 1;
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
        assert(ret);

        r = read_in_use(pid, "sockstat", "\nTCP: inuse ", &ipv4);
        if (r < 0)
                return r;
        r = read_in_use(pid, "sockstat6", "TCP6: inuse ", &ipv6);
        if (r < 0 && r != -ENOENT)
                return r;

        *ret = ipv4 << 32 | (ipv6 & UINT32_MAX);
        return 0;
}
