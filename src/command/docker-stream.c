#include "command/docker-stream.h"
#include "util/printable.h"

/* DockerStream: a state machine over pieces, since a frame's header may come in two of them. Bytes that
 * cannot be a header mean that there are no frames (a container with a terminal); from there on everything is
 * text. */

static void tail_append(DockerStream *stream, const char *data, size_t size) {
        size_t kept;

        if (size > DOCKER_STREAM_KEPT) {
                data += size - DOCKER_STREAM_KEPT;
                size = DOCKER_STREAM_KEPT;
        }
        kept = MIN(stream->tail_size, DOCKER_STREAM_KEPT - size);
        memmove(stream->tail, stream->tail + stream->tail_size - kept, kept);
        memcpy(stream->tail + kept, data, size);
        stream->tail_size = kept + size;
}

static bool header_is_possible(const DockerStream *stream) {
        for (size_t i = 0; i < MIN(stream->header_size, (size_t) 4); i++)
                if (stream->header[i] > (i == 0 ? 2 : 0))
                        return false;
        return true;
}

void docker_stream_feed(DockerStream *stream, const char *data, size_t size) {
        assert(data || size == 0);

        while (size > 0 && !stream->raw) {
                if (stream->frame_left > 0) {
                        size_t n = MIN((size_t) stream->frame_left, size);

                        tail_append(stream, data, n);
                        stream->frame_left -= (uint32_t) n;
                        data += n;
                        size -= n;
                        continue;
                }

                stream->header[stream->header_size++] = (unsigned char) *data++;
                size--;
                if (!header_is_possible(stream)) {
                        stream->raw = true;
                        tail_append(stream, (const char *) stream->header, stream->header_size);
                } else if (stream->header_size == sizeof(stream->header)) {
                        stream->frame_left = (uint32_t) stream->header[4] << 24 |
                                             (uint32_t) stream->header[5] << 16 |
                                             (uint32_t) stream->header[6] << 8 | stream->header[7];
                        stream->header_size = 0;
                }
        }
        if (size > 0)
                tail_append(stream, data, size);
}

char *docker_stream_text(const DockerStream *stream) {
        const char *text = stream->tail;
        size_t size = stream->tail_size;

        if (size == DOCKER_STREAM_KEPT) {
                const char *end = memchr(text, '\n', size - 1);

                if (end) {
                        size -= (size_t) (end + 1 - text);
                        text = end + 1;
                }
        }
        return printable_copy(text, size, true);
}
