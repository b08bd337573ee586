#include <sys/statvfs.h>
#include <sys/timex.h>

#include "ctl/doctor/doctor.h"
#include "nft/firewall.h"
#include "util/json-members.h"

/* The machine that all of it is on. */

#define DISK_MIN (UINT64_C(100) * 1024 * 1024)
#define INODES_MIN 1000U

void doctor_firewall(Doctor *doctor) {
        _cleanup_(redirect_freep) Redirect *redirect = NULL;
        _cleanup_(strv_freep) char **drops = NULL;
        int r;

        r = redirect_new(&redirect);
        doctor->firewalled = r < 0;
        if (r < 0) {
                findings_add(&doctor->findings, FINDING_ERROR, "Clients of sleeping stacks are refused.",
                             "give services a 'listen' address, which needs no firewall",
                             "nftables cannot be used: %s.", strerror(-r));
                return;
        }
        (void) firewall_check(&drops, redirect);
        doctor->firewalled = drops;
        for (char **drop = drops; drop && *drop; drop++)
                findings_add(&doctor->findings, FINDING_WARNING,
                             "Clients from elsewhere do not reach stacks that sleep, though they do those that are awake.",
                             NULL, "%s", *drop);
}

void doctor_clock(Doctor *doctor) {
        struct timex timex = {};

        if (adjtimex(&timex) == TIME_ERROR || (timex.status & STA_UNSYNC) != 0)
                findings_add(&doctor->findings, FINDING_NOTE,
                             "Times of status and journal may be wrong; spans are not.", "timedatectl",
                             "The clock is not synchronized.");
}

static void look_at_disk(Doctor *doctor, const char *path, const char *why) {
        struct statvfs fs;

        if (statvfs(path, &fs) < 0)
                return;
        if ((fs.f_flag & ST_RDONLY) != 0)
                findings_add(&doctor->findings, FINDING_ERROR, why, "findmnt", "%s can only be read.", path);
        else if ((uint64_t) fs.f_bavail * fs.f_frsize < DISK_MIN)
                findings_add(&doctor->findings, FINDING_ERROR, why, "df -h", "%s has less than 100 MiB left.",
                             path);
        else if (fs.f_files > 0 && fs.f_favail < INODES_MIN)
                findings_add(&doctor->findings, FINDING_ERROR, why, "df -i", "%s has less than %u inodes left.",
                             path, INODES_MIN);
}

void doctor_disk(Doctor *doctor) {
        const char *data = doctor->engine ? json_text(json_member(doctor->engine, "DockerRootDir")) : NULL;

        look_at_disk(doctor, "/run", "Nobody can say what stacks do, and wakes fail.");
        look_at_disk(doctor, "/var/lib/wakechain",
                     "What is to be kept over a boot is not: addresses, and whose containers are.");
        if (data)
                look_at_disk(doctor, data, "Containers may not start.");
}
