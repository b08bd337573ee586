#pragma once

/* DockerStream: the output of a container or of an exec, as the engine sends it: frames of stdout and stderr
 * (a header of eight bytes each), or just bytes if there is a terminal. Only the end of it is kept. */

#include "util/macro.h"

#define DOCKER_STREAM_KEPT ((size_t) 4096)

typedef struct DockerStream {
        bool raw; /* no frames after all */
        unsigned char header[8];
        size_t header_size;
        uint32_t frame_left;
        char tail[DOCKER_STREAM_KEPT];
        size_t tail_size;
} DockerStream;

/* In pieces of any size. */
void docker_stream_feed(DockerStream *stream, const char *data, size_t size);
/* What was kept, printable, with its line ends; without a first line that has lost its beginning. The caller's. */
char *docker_stream_text(const DockerStream *stream);
