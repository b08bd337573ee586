#pragma once

/* Safe file: files that are read for others' sake, or with more rights than those have who may write there. Whose word a file is says
 * FileTrust; what is not so is not even opened. Nothing here waits, and only regular files are read (see util/fd.h). */

#include "util/macro.h"

typedef enum FileTrust {
        /* What it says is root's word. It is root's, and so is all on the way to it: nobody else may write the file, the folders that it
         * lies in, or the links that lead there. Below a root that is not the system's, what belongs to us will do. */
        FILE_OF_ROOT,
        /* What it says is the word of whoever owns the folder. It is no link, and belongs to root or to the owner of its folder; links
         * on the way there are root's, or of the file's owner. So nobody can have a file read that is not theirs. */
        FILE_OF_FOLDER,
        _FILE_TRUST_MAX,
        _FILE_TRUST_INVALID = -EINVAL,
} FileTrust;

/* Reads ROOT/PATH ("": the system's root), where links are followed below ROOT, as file_read() does. -EPERM, -ELOOP: it is not to be
 * trusted. `reterr_why`, which the caller frees, is set where a sentence says more than the error, to go on after the path: what is wrong,
 * and what to do. */
int safe_file_read(const char *root, const char *path, FileTrust trust, size_t limit, char **ret, size_t *ret_size,
                   char **reterr_why);

/* Would it be read? Opens nothing. -ENOENT: there is none, and only those who are trusted can make one; -EISDIR: the same of a folder. */
int safe_file_check(const char *root, const char *path, FileTrust trust, char **reterr_why);
