#include <stdio.h>

#include "io/firewall.h"

/* Firewall: reads nft's listing line by line. Its shape is fixed: a table begins at the margin, what is in it
 * is indented by one tabulator, the rules of a chain by two. */

typedef struct Reader {
        char **sentences;

        /* Of the table that is being read. */
        char family[16], table[128];
        bool managed; /* by iptables: so the line above it says */
        bool ufw;
        bool accepts;
        char **dropping; /* its chains on input that drop */

        char chain[128];
        bool on_input, drops;
} Reader;

static bool has_prefix(const char *text, const char *prefix) {
        return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int reader_add(Reader *reader, const char *chain) {
        _cleanup_free_ char *rule = NULL, *sentence = NULL;
        bool ipv6 = streq(reader->family, "ip6");
        int n;

        if (reader->ufw)
                n = asprintf(&rule,
                             "in /etc/ufw/before%s.rules: -A ufw%s-before-input -m conntrack --ctstate DNAT "
                             "-j ACCEPT",
                             ipv6 ? "6" : "", ipv6 ? "6" : "");
        else if (reader->managed)
                n = asprintf(&rule, "%s -I %s -m conntrack --ctstate DNAT -j ACCEPT",
                             ipv6 ? "ip6tables" : "iptables", chain);
        else
                n = asprintf(&rule, "nft insert rule %s %s %s ct status dnat accept", reader->family,
                             reader->table, chain);
        if (n < 0) {
                rule = NULL;
                return -ENOMEM;
        }

        if (asprintf(&sentence,
                     "The firewall's chain %s (table %s %s) drops the connections of other hosts to stacks that "
                     "sleep. Add the rule: %s",
                     chain, reader->family, reader->table, rule) < 0) {
                sentence = NULL;
                return -ENOMEM;
        }
        return strv_append(&reader->sentences, sentence);
}

static int reader_end_table(Reader *reader) {
        int r = 0;

        for (char **chain = reader->dropping; chain && *chain && !reader->accepts && r >= 0; chain++)
                r = reader_add(reader, *chain);

        reader->dropping = strv_free(reader->dropping);
        reader->managed = reader->ufw = reader->accepts = false;
        return r;
}

static int reader_end_chain(Reader *reader) {
        bool dropping = reader->on_input && reader->drops;

        reader->on_input = reader->drops = false;
        return dropping ? strv_append(&reader->dropping, reader->chain) : 0;
}

/* "drop", "counter packets 3 bytes 180 reject with icmp port-unreachable": for everybody who comes so far. */
static bool rule_drops_everything(const char *rule) {
        int n = 0;

        (void) sscanf(rule, "counter packets %*u bytes %*u %n", &n);
        rule += n;
        return streq(rule, "drop") || streq(rule, "reject") || has_prefix(rule, "reject with ");
}

static void reader_rule(Reader *reader, const char *rule) {
        if (has_prefix(rule, "type filter hook input ")) {
                reader->on_input = true;
                reader->drops = strstr(rule, "policy drop;");
        } else if (rule_drops_everything(rule))
                reader->drops = true;
        else if (strstr(rule, "ct status") && strstr(rule, "dnat") && strstr(rule, "accept"))
                reader->accepts = true;
}

static int reader_line(Reader *reader, const char *line) {
        if (has_prefix(line, "# Warning: table ") && strstr(line, "iptables")) {
                reader->managed = true;
                return 0;
        }
        if (sscanf(line, "table %15s %127s {", reader->family, reader->table) == 2)
                return 0;
        if (sscanf(line, "\tchain %127s {", reader->chain) == 1) {
                reader->ufw = reader->ufw || has_prefix(reader->chain, "ufw");
                return 0;
        }
        if (streq(line, "}"))
                return reader_end_table(reader);
        if (streq(line, "\t}"))
                return reader_end_chain(reader);
        if (has_prefix(line, "\t\t"))
                reader_rule(reader, line + 2);
        return 0;
}

int firewall_find_drops(char ***ret, const char *ruleset) {
        _cleanup_free_ char *copy = NULL;
        Reader reader = {};
        char *rest, *line;
        int r = 0;

        assert(ret);
        assert(ruleset);

        copy = strdup(ruleset);
        if (!copy)
                return -ENOMEM;

        for (line = strtok_r(copy, "\n", &rest); line && r >= 0; line = strtok_r(NULL, "\n", &rest))
                r = reader_line(&reader, line);

        strv_free(reader.dropping);
        if (r < 0) {
                strv_free(reader.sentences);
                return r;
        }
        *ret = reader.sentences;
        return 0;
}
