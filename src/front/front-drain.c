#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "front/front-internal.h"
#include "util/log.h"

/* Draining: nobody new is taken, and no new flow of UDP; who is here has drain_usec. Hand-over: the next program goes on with everybody. */

#define TELL_USEC (500 * USEC_PER_MSEC) /* the last word to those who wait when time is up */

void front_exit(Front *front) {
        reactor_wake_event(front->reactor);
        (void) sd_notify(false, "STOPPING=1");
        (void) sd_event_exit(front->event, EXIT_SUCCESS);
}

static size_t front_left(Front *front) {
        return clients_total(front->clients) + udp_count(front->udp);
}

void front_check_drained(Front *front) {
        if (front->draining && front_left(front) == 0)
                front_exit(front);
}

/* Those who still wait are told; then it ends in any case. */
void front_end_drain(Front *front) {
        _cleanup_free_ char *sentence = NULL;

        if (front->drained) {
                front_exit(front);
                return;
        }
        front->drained = true;
        front_timer_start(front, TIMER_DRAIN, TELL_USEC);
        if (front_left(front) > 0)
                log_info("Stopping in front of %s: cutting off %zu clients.", front->options.service,
                         front_left(front));
        if (asprintf(&sentence, "%s is being stopped.", front->options.service) < 0)
                sentence = NULL;
        if (clients_waiting(front->clients) == 0 || front_answer(front, sentence, USEC_PER_SEC) == 0)
                front_exit(front);
}

void front_drain(Front *front) {
        if (front->draining)
                return;
        front->draining = true;
        front->listeners = listeners_free(front->listeners);
        udp_drain(front->udp);
        (void) sd_notify(false, "STOPPING=1");
        if (front_left(front) == 0)
                front_exit(front);
        else if (front->options.drain_usec == 0)
                front_end_drain(front);
        else
                front_timer_start(front, TIMER_DRAIN, front->options.drain_usec);
}

void front_hand_over(Front *front) {
        clients_hand_over(front->clients);
}
