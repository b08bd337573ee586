#include <stdio.h>
#include <sys/stat.h>

#include "redirect/runtime.h"
#include "util/fd.h"
#include "util/strv.h"
#include "util/time.h"

/* Runtime: the engine's runtime has a folder for each container, from shortly before it runs until shortly after it has ended.
 * wakechain-containers.path watches the folders that hold these. */

#define PATH_SIZE 512

static const char *const folders[] = {
        "/run/containerd/io.containerd.runtime.v2.task/moby",
        "/run/crun",
        "/run/runc",
};

uint64_t runtime_hash(const char *root) {
        uint64_t hash = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                struct stat status = {};
                char path[PATH_SIZE];

                (void) snprintf(path, sizeof(path), "%s%s", root, folders[i]);
                if (stat(path, &status) >= 0)
                        hash = hash * 31 + timespec_load(&status.st_mtim);
        }
        return hash;
}

char **runtime_ids(const char *root) {
        _cleanup_(strv_freep) char **ids = NULL;
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders); i++) {
                _cleanup_(closedirp) DIR *folder = NULL;
                char path[PATH_SIZE];

                (void) snprintf(path, sizeof(path), "%s%s", root, folders[i]);
                folder = opendir(path);
                for (struct dirent *entry; folder && r >= 0 && (entry = readdir(folder));)
                        r = strv_append(&ids, entry->d_name);
        }
        return r < 0 ? NULL : TAKE_PTR(ids);
}
