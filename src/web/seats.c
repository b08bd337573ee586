#include <sys/socket.h>

#include "util/log.h"
#include "web/seats.h"

/* Seats: counted by looking at all of them when somebody comes, which is quick beside what a connection costs.
 *
 * The worst case, which MemoryMax= of wakechain-web.service has to hold, with all seats taken:
 *   7,000 connections with a request of 16 KiB, 2 KiB of ours and 2 KiB for a stream's next event or a page's own text:  137 MiB
 *   832 of them accepted here, with a send buffer of 32 KiB in the kernel (the others' is their front's):                  26 MiB
 *   answers that nobody reads:                                                                                              56 MiB
 *   the program, its library and what it knows of a hundred services:                                                       10 MiB
 * It needs an attacker with many addresses on three sockets at once; 2,000 visitors of one service are some 40 MiB. */

#define MIB ((size_t) 1024 * 1024)

typedef struct SeatLimits {
        size_t all; /* connections */
        size_t peer; /* of them, of one peer */
        size_t service; /* ... of one service */
        size_t apart, all_apart; /* when all are taken: for each service that has no more than so many, and of all of these */
        size_t streams, peer_streams; /* 0: as many as connections */
        size_t bodies;
} SeatLimits;

static const SeatLimits limits_of[_HTTP_ORIGIN_MAX] = {
        [HTTP_TCP] = { .all = 512, .peer = 384, .streams = 256, .peer_streams = 192, .bodies = 16 * MIB },
        [HTTP_UNIX] = { .all = 192, .peer = 128, .streams = 96, .peer_streams = 64, .bodies = 16 * MIB },
        [HTTP_PASSED] = { .all = 4096,
                          .peer = 512,
                          .service = 2048,
                          .apart = 8,
                          .all_apart = 2048,
                          .bodies = 24 * MIB },
};

static const char *const origin_names[_HTTP_ORIGIN_MAX] = {
        [HTTP_TCP] = "the port of the API",
        [HTTP_UNIX] = "/run/wakechain/web.sock",
        [HTTP_PASSED] = "the wait page",
};

static const char *const bound_names[_SEAT_BOUND_MAX] = {
        [SEAT_ALL] = "too many connections",
        [SEAT_PEER] = "too many connections from one address or user",
        [SEAT_SERVICE] = "too many connections to one service",
        [SEAT_STREAM] = "too many streams of events",
        [SEAT_BODY] = "too many answers that nobody reads",
};

void seats_init(Seats *seats) {
        *seats = (Seats){};
        TAILQ_INIT(&seats->list);
}

unsigned seats_max(void) {
        size_t n = limits_of[HTTP_UNIX].peer; /* root's, beyond all */

        for (HttpOrigin origin = 0; origin < _HTTP_ORIGIN_MAX; origin++)
                n += limits_of[origin].all + limits_of[origin].all_apart;
        return (unsigned) n;
}

int seat_peer_get(SeatPeer *ret, int fd) {
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_storage storage;
        } address = {};
        socklen_t size = sizeof(address);
        struct ucred peer;
        SeatPeer result = {};

        if (getpeername(fd, &address.any, &size) < 0)
                return -errno;
        switch (address.any.sa_family) {
        case AF_INET:
                result.key = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
                memcpy(result.key.s6_addr + 12, &address.in.sin_addr, sizeof(address.in.sin_addr));
                break;
        case AF_INET6:
                /* Whoever has an address of IPv6 has a network of them. */
                result.key = address.in6.sin6_addr;
                if (!IN6_IS_ADDR_V4MAPPED(&result.key))
                        memset(result.key.s6_addr + 8, 0, 8);
                break;
        default:
                size = sizeof(peer);
                if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                        return -errno;
                memcpy(result.key.s6_addr + 12, &peer.uid, sizeof(peer.uid));
                result.is_root = peer.uid == 0;
        }
        *ret = result;
        return 0;
}

static SeatBound seats_note(Seats *seats, HttpOrigin origin, SeatBound bound) {
        bool *told = &seats->told[origin][bound];

        if (bound != SEAT_FREE && !*told)
                log_warning("At %s there are %s: more are refused until some of them end.", origin_names[origin],
                            bound_names[bound]);
        *told = true;
        return bound;
}

/* Whoever administers the machine always gets in. */
static bool seat_is_reserved(HttpOrigin origin, const SeatPeer *peer) {
        return origin == HTTP_UNIX && peer->is_root;
}

SeatBound seats_find_bound(Seats *seats, HttpOrigin origin, const SeatPeer *peer, const char *service) {
        const SeatLimits *limits = &limits_of[origin];
        size_t n = 0, n_peer = 0, n_service = 0;
        SeatBound bound = SEAT_FREE;
        const Seat *seat;

        TAILQ_FOREACH(seat, &seats->list, entry) {
                if (seat->origin != origin)
                        continue;
                n++;
                n_peer += IN6_ARE_ADDR_EQUAL(&seat->peer.key, &peer->key);
                n_service += service && streq(seat->service, service);
        }
        if (n_peer >= limits->peer)
                bound = SEAT_PEER;
        else if (service && n_service >= limits->service)
                bound = SEAT_SERVICE;
        else if (n >= limits->all && !seat_is_reserved(origin, peer) &&
                 (n_service >= limits->apart || n >= limits->all + limits->all_apart))
                bound = SEAT_ALL;
        return seats_note(seats, origin, bound);
}

SeatBound seats_find_stream_bound(Seats *seats, const Seat *seat) {
        const SeatLimits *limits = &limits_of[seat->origin];
        size_t n = 0, n_peer = 0;
        const Seat *other;
        SeatBound bound;

        if (limits->streams == 0)
                return SEAT_FREE;
        TAILQ_FOREACH(other, &seats->list, entry) {
                bool counts = other->streams && other->origin == seat->origin;

                n += counts;
                n_peer += counts && IN6_ARE_ADDR_EQUAL(&other->peer.key, &seat->peer.key);
        }
        bound = n_peer >= limits->peer_streams || (n >= limits->streams &&
                                                   !seat_is_reserved(seat->origin, &seat->peer))
                                ? SEAT_STREAM
                                : SEAT_FREE;
        return seats_note(seats, seat->origin, bound);
}

SeatBound seats_find_body_bound(Seats *seats, HttpOrigin origin, size_t size) {
        bool fits = seats->bodies[origin] == 0 || seats->bodies[origin] + size <= limits_of[origin].bodies;

        return seats_note(seats, origin, fits ? SEAT_FREE : SEAT_BODY);
}
