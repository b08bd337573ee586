#include "net/socket-table.h"
#include "probe/probe-schedule.h"

/* ProbeSchedule. Being ready is noticed half a pause late on average, so pauses are short where a try costs
 * next to nothing, and grow with the time already waited: to a five-hundredth of it, so that they never cost
 * a boot more than that.
 *
 * A command costs 40 ms of the processors that the container needs for booting, so the time alone lets it run
 * only now and then. What makes it worth its price is a change of the sockets that listen: applications
 * listen when they are ready, or nearly. The table of sockets is dear to read (see net/socket-table.h), so it
 * is read when the pulse says that something has changed, and for no more than a tenth of the time. A
 * container that opens and closes listening sockets all the time is not believed for ever. */

#define PAUSE_SHORTEST_USEC (10 * USEC_PER_MSEC)
#define PAUSE_LONGEST_USEC USEC_PER_SEC
#define PAUSE_DIVISOR 500
#define LOOK_PAUSE_LONGEST_USEC (50 * USEC_PER_MSEC)
#define LOOK_COST_FACTOR 10

#define SILENT_FIRST_USEC (250 * USEC_PER_MSEC)
#define LISTENING_FIRST_USEC (50 * USEC_PER_MSEC)
#define CHANGES_MAX 32

uint64_t probe_pause(uint64_t elapsed_usec, uint64_t interval_usec) {
        uint64_t longest = CLAMP(interval_usec, USEC_PER_MSEC, PAUSE_LONGEST_USEC);

        return MIN(MAX(elapsed_usec / PAUSE_DIVISOR, PAUSE_SHORTEST_USEC), longest);
}

void command_gate_set_listening(CommandGate *gate, uint64_t listening_hash, uint64_t now_usec) {
        bool changed = listening_hash != gate->listening_hash;

        gate->listening_hash = listening_hash;
        gate->listening = listening_hash != 0;
        if (!changed || !gate->listening || gate->changes_left == 0)
                return;

        gate->changes_left--;
        gate->pause_usec = LISTENING_FIRST_USEC;
        gate->due_usec = now_usec;
}

static void command_gate_look(CommandGate *gate, uint64_t now_usec) {
        SocketTable table;
        uint64_t pulse;

        if (gate->pid == 0 || socket_table_pulse(gate->pid, &pulse) < 0)
                return;
        if (pulse != gate->pulse)
                gate->stale = true;
        gate->pulse = pulse;

        if (!gate->stale || now_usec < usec_add(gate->looked_usec, LOOK_COST_FACTOR * gate->cost_usec))
                return;
        if (socket_table_read(&table, gate->pid, &(SocketFilter){}) < 0)
                return;
        gate->stale = false;
        gate->looked_usec = time_now(CLOCK_MONOTONIC);
        gate->cost_usec = usec_sub(gate->looked_usec, now_usec);
        command_gate_set_listening(gate, table.listening_hash, now_usec);
}

void command_gate_init(CommandGate *gate, pid_t pid, uint64_t interval_usec, uint64_t now_usec) {
        *gate = (CommandGate){
                .pid = pid,
                .interval_usec = MAX(interval_usec, USEC_PER_MSEC),
                .pause_usec = 2 * SILENT_FIRST_USEC,
                .stale = true,
                .changes_left = CHANGES_MAX,
        };
        gate->due_usec = usec_add(now_usec, MIN(SILENT_FIRST_USEC, gate->interval_usec));
}

bool command_gate_is_due(CommandGate *gate, uint64_t now_usec) {
        command_gate_look(gate, now_usec);
        return now_usec >= gate->due_usec;
}

void command_gate_failed(CommandGate *gate, uint64_t now_usec) {
        gate->due_usec = usec_add(now_usec, MIN(gate->pause_usec, gate->interval_usec));
        gate->pause_usec = MIN(2 * gate->pause_usec, gate->interval_usec);
        /* What changed while the command ran has to be seen, also if as much went as came. */
        gate->stale = true;
}

uint64_t command_gate_next(const CommandGate *gate, uint64_t begun_usec, uint64_t now_usec) {
        uint64_t look;

        if (gate->pid == 0)
                return gate->due_usec;
        look = usec_add(now_usec, probe_pause(usec_sub(now_usec, begun_usec), LOOK_PAUSE_LONGEST_USEC));
        return MIN(look, gate->due_usec);
}
