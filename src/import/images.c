#include "import/images.h"

/* Images: by the last part of their names. A server that says more than that it accepts is asked for it: PostgreSQL accepts while it
 * recovers; the search engines and stores answer before they have what they serve. */

static const char postgres_command[] = "pg_isready -q -h 127.0.0.1";

/* The whole name. */
static const KnownImage servers[] = {
        { "clickhouse", IMAGE_SERVER, 8123, .path = "/ping" },
        { "clickhouse-server", IMAGE_SERVER, 8123, .path = "/ping" },
        { "couchdb", IMAGE_SERVER, 5984, .path = "/_up" },
        { "dragonfly", IMAGE_SERVER, 6379 },
        { "elasticsearch", IMAGE_SERVER, 9200 },
        { "influxdb", IMAGE_SERVER, 8086, .path = "/health" },
        { "kafka", IMAGE_SERVER, 9092 },
        { "keydb", IMAGE_SERVER, 6379 },
        { "mariadb", IMAGE_SERVER, 3306 },
        { "meilisearch", IMAGE_SERVER, 7700, .path = "/health" },
        { "memcached", IMAGE_SERVER, 11211 },
        { "minio", IMAGE_SERVER, 9000, .path = "/minio/health/ready" },
        { "mongo", IMAGE_SERVER, 27017 },
        { "mongodb", IMAGE_SERVER, 27017 },
        { "mysql", IMAGE_SERVER, 3306 },
        { "mysql-server", IMAGE_SERVER, 3306 },
        { "nats", IMAGE_SERVER, 4222 },
        { "opensearch", IMAGE_SERVER, 9200 },
        { "percona", IMAGE_SERVER, 3306 },
        { "pgvector", IMAGE_SERVER, 5432, .command = postgres_command },
        { "postgis", IMAGE_SERVER, 5432, .command = postgres_command },
        { "postgres", IMAGE_SERVER, 5432, .command = postgres_command },
        { "postgresql", IMAGE_SERVER, 5432, .command = postgres_command },
        { "qdrant", IMAGE_SERVER, 6333, .path = "/readyz" },
        { "rabbitmq", IMAGE_SERVER, 5672 },
        { "redis", IMAGE_SERVER, 6379 },
        { "redis-stack-server", IMAGE_SERVER, 6379 },
        { "timescaledb", IMAGE_SERVER, 5432, .command = postgres_command },
        { "typesense", IMAGE_SERVER, 8108, .path = "/health" },
        { "valkey", IMAGE_SERVER, 6379 },
};

/* A part of it. The first that fits. */
static const KnownImage others[] = {
        { "autoheal", IMAGE_STARTER }, { "watchtower", IMAGE_STARTER },  { "cloudflared", IMAGE_TUNNEL },
        { "newt", IMAGE_TUNNEL },      { "caddy", IMAGE_PROXY },         { "haproxy", IMAGE_PROXY },
        { "nginx", IMAGE_PROXY },      { "swag", IMAGE_PROXY },          { "traefik", IMAGE_PROXY },
        { "dovecot", IMAGE_MAIL },     { "mailserver", IMAGE_MAIL },     { "postfix", IMAGE_MAIL },
        { "stalwart", IMAGE_MAIL },    { "backup", IMAGE_BACKUP },       { "borg", IMAGE_BACKUP },
        { "duplicati", IMAGE_BACKUP }, { "kopia", IMAGE_BACKUP },        { "restic", IMAGE_BACKUP },
        { "cron", IMAGE_CRON },        { "ofelia", IMAGE_CRON },         { "esphome", IMAGE_HOME },
        { "frigate", IMAGE_HOME },     { "home-assistant", IMAGE_HOME }, { "homeassistant", IMAGE_HOME },
        { "mosquitto", IMAGE_HOME },   { "node-red", IMAGE_HOME },       { "zigbee2mqtt", IMAGE_HOME },
};

static bool is_part(const char *text, size_t n, const char *part) {
        return memmem(text, n, part, strlen(part)) != NULL;
}

const KnownImage *image_find(const char *image) {
        const char *end = image + strcspn(image, "@"), *slash = memrchr(image, '/', (size_t) (end - image)),
                   *name = slash ? slash + 1 : image;
        size_t n = MIN(strcspn(name, ":"), (size_t) (end - name));

        for (size_t i = 0; i < ELEMENTSOF(servers); i++)
                if (strlen(servers[i].name) == n && strncmp(servers[i].name, name, n) == 0)
                        return &servers[i];
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                if (is_part(name, n, others[i].name))
                        return &others[i];
        return NULL;
}
