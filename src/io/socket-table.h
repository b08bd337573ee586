#pragma once

/* Socket table: the TCP sockets of a container, read from /proc/PID/net/tcp and tcp6, which any user may read.
 * Two uses: which ports listen (a cheap look that tells when an expensive check is worth its price) and how
 * many clients are connected. */

#include <netinet/in.h>
#include "util/macro.h"

typedef struct SocketTable {
        /* Changes whenever a listening socket appears or goes; 0 if there is none. */
        uint64_t listening_hash;
        size_t n_listening;
        /* Sockets of `port` that are established (or half closed with data under way), without loopback and
         * `ignored` peers. */
        size_t n_established;
        size_t n_ignored; /* the same, of `ignored` peers */
} SocketTable;

typedef struct AddressPrefix {
        int family; /* AF_INET or AF_INET6 */
        union {
                struct in_addr ipv4;
                struct in6_addr ipv6;
        };
        unsigned length;
} AddressPrefix;

#define ADDRESS_PREFIX_TEXT_MAX (INET6_ADDRSTRLEN + sizeof("/128"))
const char *address_prefix_to_string(const AddressPrefix *prefix, char buffer[static ADDRESS_PREFIX_TEXT_MAX]);
/* "10.0.0.0/8", "::1", "fd00::/8". -EINVAL. */
int address_prefix_parse(AddressPrefix *ret, const char *text);
/* An IPv4-mapped IPv6 address matches IPv4 prefixes. */
bool address_prefix_matches(const AddressPrefix *prefix, int family, const void *address);

/* `pid` 0 reads the caller's own namespace. `port` 0 counts no connections. -ENOENT or -ESRCH if the process
 * has gone. Costs 4 ms of CPU on a machine of 24 GB however few sockets there are (the kernel walks the hash of
 * all namespaces): do not poll it. */
int socket_table_read(SocketTable *ret, pid_t pid, uint16_t port, const AddressPrefix *ignored, size_t n_ignored);

/* Ports of the caller's own namespace that something listens at, on whatever address. */
typedef struct ListeningPorts {
        uint64_t ports[(UINT16_MAX + 1) / 64];
} ListeningPorts;

int socket_table_read_listening(ListeningPorts *ret);
bool listening_ports_have(const ListeningPorts *listening, uint16_t port);

/* A number that changes when a TCP socket of the namespace begins to listen or is connected, or goes: 50 µs, to
 * be polled instead. Equal numbers do not prove that nothing has changed (one came, one went), so look at the
 * table now and then anyway. */
int socket_table_pulse(pid_t pid, uint64_t *ret);

/* Parses one file's text into the running totals; for tests and the fuzzer. `family` is AF_INET or AF_INET6.
 * Lines that make no sense are skipped: never fails. */
int socket_table_parse(SocketTable *table, int family, const char *text, uint16_t port,
                       const AddressPrefix *ignored, size_t n_ignored);
