#pragma once

/* Socket table: the TCP sockets of a container, read from /proc/PID/net/tcp and tcp6, which any user may read.
 * Two uses: which ports listen (a cheap look that tells when an expensive check is worth its price) and how
 * many clients are connected. */

#include "util/address.h"

typedef struct SocketTable {
        /* Changes whenever a listening socket appears or goes; 0 if there is none. */
        uint64_t listening_hash;
        size_t n_listening;
        /* Connections of the filter's port that are established (or half closed with data under way). */
        size_t n_established;
        size_t n_ignored; /* the same, of `ignored` peers */
} SocketTable;

/* A socket of the port that is connected, addresses in network byte order. An IPv4-mapped address is one of AF_INET. */
typedef struct Connection {
        int family;
        uint8_t local[16], remote[16]; /* IPv4 uses the first four */
        uint16_t local_port, remote_port;
        unsigned unanswered; /* so often in a row it has sent what nobody acknowledges */
} Connection;

/* Which connections are counted. */
typedef struct SocketFilter {
        uint16_t port; /* 0: none */
        const AddressPrefix *ignored;
        size_t n_ignored;
        bool loopback; /* …of peers on loopback, too */
        bool (*counts)(const Connection *connection, void *userdata); /* asked of those that would be; NULL: all */
        void *userdata;
} SocketFilter;

/* `pid` 0 reads the caller's own namespace. -ENOENT or -ESRCH if the process
 * has gone. Costs 4 ms of CPU on a machine of 24 GB however few sockets there are (the kernel walks the hash of
 * all namespaces): do not poll it. */
int socket_table_read(SocketTable *ret, pid_t pid, const SocketFilter *filter);

/* A number that changes when a TCP socket of the namespace begins to listen or is connected, or goes: 50 µs, to
 * be polled instead. Equal numbers do not prove that nothing has changed (one came, one went), so look at the
 * table now and then anyway. */
int socket_table_pulse(pid_t pid, uint64_t *ret);

/* Parses one file's text into the running totals; for tests and the fuzzer. `family` is AF_INET or AF_INET6.
 * Lines that make no sense are skipped: never fails. */
int socket_table_parse(SocketTable *table, int family, const char *text, const SocketFilter *filter);
