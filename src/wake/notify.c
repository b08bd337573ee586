#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "util/log.h"
#include "wake/notify.h"

void notify_ready(void) {
        (void) sd_notify(0, "READY=1");
}

void notify_stopping(void) {
        (void) sd_notify(0, "STOPPING=1");
}

void notify_status(const char *format, ...) {
        char text[512];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        (void) sd_notifyf(0, "STATUS=%s", text);
}

void notify_extend_timeout(uint64_t usec) {
        (void) sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64, usec);
}

int notify_store(const char *name, int fd) {
        char text[512];

        (void) snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name);
        return sd_pid_notify_with_fds(0, 0, text, &fd, 1);
}

void notify_forget(const char *name) {
        (void) sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
