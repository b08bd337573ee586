#pragma once

/* ProbeSchedule: when to ask. Times are CLOCK_MONOTONIC, in µs. */

#include "util/macro.h"
#include "util/time.h"

/* The pause after a cheap try that failed, `elapsed_usec` after the first one. */
uint64_t probe_pause(uint64_t elapsed_usec, uint64_t interval_usec);

/* What is known of a container's listening sockets, and when the next try of a command is due because of it,
 * or anyway. */
typedef struct CommandGate {
        pid_t pid; /* 0: nothing can be seen */
        uint64_t interval_usec;
        uint64_t due_usec;
        uint64_t pause_usec; /* after the next try */

        uint64_t pulse;
        bool stale; /* the table has to be looked at */
        uint64_t looked_usec;
        uint64_t cost_usec; /* of looking */
        uint64_t listening_hash;
        bool listening;
        unsigned changes_left; /* that are believed to mean anything */
} CommandGate;

void command_gate_init(CommandGate *gate, pid_t pid, uint64_t interval_usec, uint64_t now_usec);
/* Looks, and says whether a try is to begin now. */
bool command_gate_is_due(CommandGate *gate, uint64_t now_usec);
/* A try has failed. */
void command_gate_failed(CommandGate *gate, uint64_t now_usec);
/* When to look again. */
uint64_t command_gate_next(const CommandGate *gate, uint64_t begun_usec, uint64_t now_usec);

/* What command_gate_is_due() does with a look that it took; for tests. */
void command_gate_set_listening(CommandGate *gate, uint64_t listening_hash, uint64_t now_usec);
