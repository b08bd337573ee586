#include <sys/stat.h>

#include "ctl/ctl.h"
#include "ctl/import.h"
#include "ctl/reach.h"
#include "util/log.h"

/* wakectl remove: a service out of the file that import, or add, has made of it. What a person has written elsewhere is left to that one. */

static int remove_one(const CtlOptions *options, ImportFiles *files, const char *name) {
        _cleanup_(import_change_done) ImportChange change = {};
        _cleanup_free_ char *why = NULL;
        int r;

        r = import_files_remove(files, name, &change, &why);
        if (r < 0) {
                log_error("%s: not removed, since %s.", name, why ?: "there is no memory");
                return CTL_FAILED;
        }
        import_show(&change);
        if (options->dry_run || !import_may("Remove this?")) {
                log_info("%s: '%s' is left as it is.", name, change.path);
                return CTL_FINE;
        }
        if (import_files_write(files, &change, &why) < 0) {
                log_error("%s: %s", name, why ?: "Out of memory.");
                return CTL_FAILED;
        }
        log_info("%s: '%s' is %s. 'wakectl reload' puts that to use; its containers are left as they are.", name,
                 change.path, *change.text ? "written" : "removed");
        return CTL_FINE;
}

int verb_remove(const CtlOptions *options, int argc, char **argv) {
        _cleanup_(import_files_freep) ImportFiles *files = NULL;
        _cleanup_free_ char *why = NULL;
        int outcome = CTL_FINE;

        if (!are_service_names(argv, argc))
                return CTL_USAGE;
        (void) umask(022);
        if (import_files_open(&files, "", /* lock= */ !options->dry_run, &why) < 0) {
                log_error("%s", why ?: "Out of memory.");
                return CTL_FAILED;
        }
        for (int i = 0; i < argc; i++) {
                int r = remove_one(options, files, argv[i]);

                outcome = MAX(outcome, r);
        }
        return outcome;
}
