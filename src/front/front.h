#pragma once

/* Front: what stands before a service: takes its clients, has the stack woken for them, and brings both
 * together. */

#include <systemd/sd-event.h>
#include "front/keep/keep.h"
#include "front/port-manner.h"
#include "front/rules.h"
#include "model/service.h"
#include "util/time.h"

typedef struct Front Front;

typedef struct FrontOptions {
        const char *service;
        const char *control; /* path of the service's control socket */
        const char *page_socket; /* path of the web service's socket for browsers */
        PageMode page; /* who is passed to it */
        const char *status; /* path of the service's status file */
        int proxy_protocol; /* version of the header for backends; 0: none */
        PortManners ports; /* of which clients are treated in another manner */
        Rules rules; /* whom to ignore */
        bool ignored_pass; /* while the stack is not awake they get 200, not 503 */
        uint64_t idle_bytes_usec; /* who has sent nothing for so long does not keep the stack awake; 0: everybody does */
        uint64_t exit_idle_usec; /* the loop is left this long after the last client; USEC_INFINITY: never */
        uint64_t drain_usec; /* how long clients may go on when it is to stop */
        uint64_t pause_max_usec; /* longest pause after failed wakes */
        uint64_t udp_timeout_usec; /* a UDP client has gone when neither side has sent for so long */
        uint64_t descriptors_max; /* RLIMIT_NOFILE */
} FrontOptions;

/* The options' strings and lists, the keep and the `n` listening and datagram sockets from descriptor `first` on are
 * borrowed. What is in the keep is gone on with. */
int front_new(Front **ret, sd_event *event, const FrontOptions *options, Keep *keep, int first, size_t n);
Front *front_free(Front *front);
DEFINE_CLEANUP(Front *, front_free);
/* Until it has had no client for exit_idle_usec, or sd_event_exit(), whose code it returns. */
int front_run(Front *front);

/* Takes no more clients; the loop is left when the last one has gone, or drain_usec have passed. */
void front_drain(Front *front);
/* Keeps all that can be kept for the next program; this one is to exit at once, without freeing anything. */
void front_hand_over(Front *front);
