#pragma once

/* Seats: how many connections and streams there may be, and who may have one more. Each way in has its own, and who takes all that he can
 * get leaves some to the others: of his address, of his service, and of root. */

#include <netinet/in.h>
#include <sys/queue.h>
#include "util/macro.h"

typedef enum HttpOrigin {
        HTTP_TCP, /* our own port */
        HTTP_UNIX, /* our own socket in the file system */
        HTTP_PASSED, /* a client of a service, given to us by its front */
        _HTTP_ORIGIN_MAX,
        _HTTP_ORIGIN_INVALID = -EINVAL,
} HttpOrigin;

typedef enum SeatBound {
        SEAT_FREE,
        SEAT_ALL, /* all seats of this origin are taken */
        SEAT_PEER, /* this peer has as many as one may have */
        SEAT_SERVICE, /* this service's clients have */
        SEAT_STREAM, /* there are as many streams as there may be, of this peer or of all */
        SEAT_BODY, /* there is as much memory in answers that nobody has read yet */
        _SEAT_BOUND_MAX,
} SeatBound;

/* Who is at the other end. An address, of IPv6 its network; on a Unix socket the user. */
typedef struct SeatPeer {
        struct in6_addr key;
        bool is_root;
} SeatPeer;

typedef struct Seat Seat;

/* A connection. Embedded in what owns it. */
struct Seat {
        TAILQ_ENTRY(Seat) entry;
        HttpOrigin origin;
        SeatPeer peer;
        const char *service; /* borrowed; NULL unless passed */
        bool streams;
};

typedef struct Seats {
        TAILQ_HEAD(SeatList, Seat) list;
        size_t bodies[_HTTP_ORIGIN_MAX]; /* bytes; the sum of bytes_count() */
        bool told[_HTTP_ORIGIN_MAX][_SEAT_BOUND_MAX];
} Seats;

void seats_init(Seats *seats);
/* How many connections there can be in all. */
unsigned seats_max(void);
int seat_peer_get(SeatPeer *ret, int fd);

/* May one more come, or what is in his way? Whatever is, is logged, once. */
SeatBound seats_find_bound(Seats *seats, HttpOrigin origin, const SeatPeer *peer, const char *service);
SeatBound seats_find_stream_bound(Seats *seats, const Seat *seat);
/* Of that many bytes that an answer keeps. One answer there may always be. */
SeatBound seats_find_body_bound(Seats *seats, HttpOrigin origin, size_t size);
